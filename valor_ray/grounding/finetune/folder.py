"""The folder of `valor train grounding`: its files, the settings they were made with, where a killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from valor_ray.config.finetune import FinetuneConfig
from valor_ray.errors import ConfigError
from valor_ray.runs.checkpoints import FolderCheckpoints
from valor_ray.runs.folder import GROUNDING, changes, claimed, meaning, save_settings, saved_settings
from valor_ray.runs.record_file import RecordFile, cut_torn_line, keep_records, read_records, replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.grounding.finetune.mined_set import MinedSet

# Settings that may change between two starts. `mined` too: what is in the set decides, not where it lies.
_FREE = ("mined", "num_gpus", "threads", "save_every", "keep_checkpoints", "service")
# The others decide what is computed; the thresholds, which boxes are rehearsed.
_DETECTOR = tuple(f"detector.{name}" for name in ("model", "image_side", "box_threshold", "text_threshold"))
_MEANING = (*_DETECTOR, *(f"finetune.{name}" for name in FinetuneConfig.model_fields if name not in _FREE))
# Those that decide what the replay set is, which is made before the first step.
_REPLAY_MEANING = (*_DETECTOR, *(f"finetune.{name}" for name in ("replay_pictures", "replay_limit", "seed")))


class FinetuneFolder:
    """Paths and records of one run folder.

    Called by `finetune` in the driver, which holds its lock; learner processes write checkpoints/, averaged/, replay/,
    candidates/, selection.json and chosen/. Waits for nobody: a second run in the same folder is refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.plan = path / "plan.json"  # once training may begin: what it is on
        self.metrics = path / "metrics.jsonl"  # a line a step
        self.stages = path / "stages.jsonl"  # grows: seconds of each stage of each start
        self.mined = path / "mined"  # the mining run, where the command has mined
        self.replay = path / "replay"  # set/: the start detector's own boxes; pictures/: where rendered
        self.general = path / "general"  # the gate's set, where rendered
        self.checkpoints = FolderCheckpoints(path / "checkpoints")
        self.learned = path / "learned.json"  # how learning ended
        self.selection = path / "selection.json"
        self.weights = path / "weights"  # what is published
        self.announced = (
            path / "announced.json"
        )  # of what is published: its version, and the replicas that carry it
        self.evaluation = path / "evaluation.json"
        self.report = path / "report.json"
        self.page = path / "report.html"

    def locked(self) -> AbstractContextManager[None]:
        """One run at a time.

        Raises ConfigError when another run writes here, the folder is another command's, or cannot be made.
        """
        return claimed(self.path, GROUNDING)

    @property
    def begun(self) -> bool:
        """Whether anything has been learnt here: then set and settings are fixed."""
        return self.learned.exists() or any(self.checkpoints.folder.glob("step-*"))

    @property
    def _rehearsed(self) -> bool:
        return (self.replay / "set").exists()

    def check_config(self, config: Config) -> None:
        """Raises ConfigError naming the settings that differ from those with which training has begun here.

        Before the first checkpoint only those of the replay set are fixed, once it is there: what the learner advises
        when it cannot begin (another batch, fewer GPUs) can be followed in the same folder.
        """
        if not (self.begun or self._rehearsed):
            return
        names = _MEANING if self.begun else _REPLAY_MEANING
        saved = saved_settings(self.config, "--run", {"finetune": FinetuneConfig})
        now = config.model_dump(mode="json")
        if changed := changes(meaning(saved, names), meaning(now, names)):
            raise ConfigError(
                f"--run {self.path} was started with other settings ({changed}). Give them again, or another --run."
            )

    def write_config(self, config: Config) -> None:
        save_settings(self.config, config)

    def begin(self, mined: MinedSet, steps: int) -> None:
        """Note what is trained on, or see that it is what an earlier start was trained on.

        Raises ConfigError when the set has changed since: no checkpoint could go on with another.
        """
        if self.plan.exists() and (self.begun or self._rehearsed):
            known = read_object(self.plan, "Give another --run.").get("sha256")
        else:
            known = mined.sha256
        if known != mined.sha256:
            raise ConfigError(
                f"The set {mined.dataset} is not the one that {self.path} began with (sha256 {mined.sha256[:12]}, "
                f"then {str(known)[:12]}): it was mined further since. Put the old one back, or give another --run."
            )
        if not (self.begun and self.plan.exists()):
            replace_text(self.plan, json.dumps(mined.record() | {"steps": steps}, indent=1) + "\n")

    # what a killed run goes on with

    def go_back(self) -> int:
        """Bring metrics.jsonl to where the newest checkpoint goes on; returns the updates that it holds."""
        done = self.checkpoints.newest()
        keep_records(self.metrics, lambda record: bool(record["step"] <= done))
        known = {record["step"] for record in read_records(self.metrics)}
        lost = [record for record in self.checkpoints.metrics(done) if record["step"] not in known]
        if lost:  # the driver died between a checkpoint and the note of its steps
            with closing(RecordFile(self.metrics, keep=True)) as metrics:
                metrics.append_all(lost)
        return done

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Keep how long the block took, also where it fails; a kill -9 leaves no note."""
        begun = monotonic()
        try:
            yield
        finally:
            with closing(RecordFile(self.stages, keep=True)) as stages:
                stages.append({"stage": stage, "seconds": round(monotonic() - begun, 3)})

    def seconds(self) -> dict[str, float]:
        """Of all starts, by stage. Learning lasts at least as long as its steps: a kill has cut notes, not those."""
        cut_torn_line(self.stages)
        sums: dict[str, float] = {}
        for record in read_records(self.stages):
            sums[record["stage"]] = sums.get(record["stage"], 0.0) + record["seconds"]
        steps = sum(float(record["seconds"]) for record in read_records(self.metrics))
        if steps:
            sums["learn"] = max(sums.get("learn", 0.0), steps)
        return {stage: round(seconds, 1) for stage, seconds in sums.items()}


def read_object(path: Path, advice: str) -> dict[str, Any]:
    """A JSON object of the run folder. Raises ConfigError, with advice, when it cannot be read."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, Mapping):
            raise TypeError("no object")
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"Cannot read {path}: {error}. {advice}") from error
    return dict(held)
