"""A fine-tuning run's controls, trained: what differs, and what came out. For evaluation only."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.training import read_about
from valor_ray.grounding.finetune.folder import FinetuneFolder, read_object
from valor_ray.grounding.finetune.mined_set import open_set, split_sizes
from valor_ray.grounding.finetune.process import REPLAY
from valor_ray.models.shipped import on_bases
from valor_ray.runs.folder import GROUNDING, changes, check_kind
from valor_ray.runs.record_file import read_records, replace_text
from valor_ray.tabletop.finetune.controls.sets import CONTROL_SETS, read_mined, write_control_set

if TYPE_CHECKING:
    from valor_ray.config.finetune import FinetuneConfig
    from valor_ray.config.grounding import GroundingConfig
    from valor_ray.grounding.learner.learn import LearnEnd, LearnTask

Say = Callable[[str], None]
VERIFIED, SECOND = "verified", "two_rounds"
REPLAY_ONLY, WITHOUT_NEGATIVES, WITHOUT_REPLAY = "replay_only", "without_negatives", "without_replay"
REPLAY_OF_BOXES = "replay_of_boxes"
CONTROLS = ("self_training", "random_verifier", REPLAY_ONLY, "true_boxes")
ABLATIONS = (
    "without_coarse",
    "without_crop",
    "without_duplicates",
    WITHOUT_NEGATIVES,
    WITHOUT_REPLAY,
    REPLAY_OF_BOXES,
)
# settings that may change between two starts of a control, and between the run and its controls
_FREE = frozenset(("mined", "num_gpus", "threads", "save_every", "keep_checkpoints", "service"))
_SEEN_WITH = ("model", "image_side", "box_threshold", "text_threshold")  # of the detector
_SETTINGS, _DONE = "control.json", "done.json"  # in a control's folder
_SAY_EVERY = 50  # steps


@dataclass(frozen=True)
class Trained:
    """A finished way to weights: a row of the table."""

    name: str
    weights: str  # folder, hub format
    steps: int
    pictures: int  # trained on, without replay
    boxes: int  # positives of the whole set
    minutes: float  # of its steps
    alpha: float | None  # share of the new weights; None: the gate let none pass, these are averaged/
    passed: bool
    general: dict[
        str, Any
    ]  # of learner.select.Selection: {"start": {"map", ...}, "end": {...}, "1": {"map"}}, points


class Source:
    """A run of `valor train grounding` that has come to its end."""

    def __init__(self, path: Path, overrides: Sequence[str] = ()) -> None:
        """Raises ConfigError: another command's folder, not at its end, settings of another version, a set that has
        changed since the run was trained on it."""
        check_kind(path, GROUNDING)
        self.folder = FinetuneFolder(path.resolve())
        self.path = self.folder.path
        if not (self.folder.learned.exists() and self.folder.selection.exists()):
            raise ConfigError(
                f"--run {path} has not come to its end: `valor train grounding --run {path}` goes on."
            )
        self.own = Config.load(str(self.folder.config))  # what the run was made with
        self.config, self.on_bases = on_bases(Config.load(str(self.folder.config), overrides))
        if self.config.finetune.steps != self.own.finetune.steps:
            raise ConfigError(
                "The controls have the run's steps: leave out finetune.steps; --minutes gives others."
            )
        plan = read_object(self.folder.plan, "Give another --run.")
        self.dataset = Path(plan["dataset"])
        self.mined = open_set(self.dataset)
        if self.mined.sha256 != plan["sha256"]:
            raise ConfigError(
                f"The set {self.dataset} is not the one that {path} was trained on (sha256 {self.mined.sha256[:12]}, "
                f"then {plan['sha256'][:12]}): it was mined further since. Put the old one back, or train on this one."
            )
        self.mine = None if plan.get("mine") is None else Path(plan["mine"])
        self.replay = self.path / REPLAY if (self.path / REPLAY).exists() else None
        self.steps = int(read_object(self.folder.learned, "Give another --run.")["steps"])

    @property
    def settings(self) -> FinetuneConfig:
        return self.config.finetune

    @property
    def grounding(self) -> GroundingConfig:
        """With what decides which pictures are in a set as it was when the run's set was made."""
        grounding = self.config.grounding
        rejected = read_about(self.dataset).get("all_rejected", grounding.all_rejected)
        return grounding.model_copy(update={"all_rejected": rejected})

    def is_main_way(self, steps: int) -> bool:
        """Whether the run itself is what controls of so many steps compare with: it has their steps and settings."""
        return steps == self.steps and meant(self.own) == meant(self.config)

    @property
    def began_with(self) -> Path:
        """The weights, where they are files."""
        return Path(resolve_model(self.own.detector.model)).resolve()

    @property
    def replayed(self) -> int:
        """Replayed pictures a step, of all processes."""
        count = round(self.settings.replay * self.settings.batch * self.settings.workers)
        return count if self.replay is not None else 0

    def steps_in(self, minutes: float) -> int:
        """Steps that the run would have made in so many minutes. Raises ConfigError where no step's time is known."""
        seconds = [float(record["seconds"]) for record in read_records(self.folder.metrics)]
        if not seconds:
            raise ConfigError(f"{self.folder.metrics} tells no step's time: leave out --minutes.")
        return max(1, math.floor(60 * minutes / statistics.median(seconds)))

    def trained(self, name: str) -> Trained:
        """The run's own row."""
        images = self.mined.images
        minutes = sum(float(record["seconds"]) for record in read_records(self.folder.metrics)) / 60
        boxes = sum(len(image.positives) for image in images)
        return _trained(name, self.path, (self.steps, split_sizes(images, self.settings)[0], boxes), minutes)


def all_trained(source: Source, names: Sequence[str], steps: int, say: Say) -> list[Trained]:
    """The main way first: the run's own weights, or anew where the others have other steps or settings.

    All sets are made and all folders checked before anything is trained.
    """
    own = source.is_main_way(steps)
    tasks = {name: _checked(source, name, steps) for name in (*(() if own else (VERIFIED,)), *names)}
    ways = [source.trained(VERIFIED)] if own else []
    return ways + [_control(source, name, task, say) for name, task in tasks.items()]


def check_second(first: Source, second: Source) -> None:
    """Raises ConfigError when a run did not begin with weights of another."""
    began = second.began_with
    if not any(began.is_relative_to((first.path / name).resolve()) for name in ("weights", "chosen")):
        raise ConfigError(
            f"--second {second.path} began with {began}, not with weights of {first.path} (its weights/ or chosen/). "
            f"Give a run of `valor train grounding --set detector.model={first.path}/chosen`."
        )


def meant(config: Config) -> dict[str, Any]:
    """The settings that decide what a control learns and how it sees."""
    saved = config.finetune.model_dump(mode="json")
    return {key: value for key, value in saved.items() if key not in _FREE} | {
        f"detector.{name}": getattr(config.detector, name) for name in _SEEN_WITH
    }


def _checked(source: Source, name: str, steps: int) -> LearnTask:
    """A control's task, its set made. Raises ConfigError when its folder was made with other settings."""
    folder = source.path / "controls" / name
    task, what = _task(source, name, steps, folder)
    known = folder / _SETTINGS
    if not known.exists():
        replace_text(known, json.dumps(what, indent=1) + "\n")
    # a folder of a version that noted fewer settings was made with the run's own
    elif changed := changes(meant(source.own) | read_object(known, f"Remove {folder}."), what):
        raise ConfigError(
            f"{folder} was made with other settings ({changed}). Remove that folder, or give them again."
        )
    return task


def _control(source: Source, name: str, task: LearnTask, say: Say) -> Trained:
    """Train and select, unless that is done."""
    done = task.run / _DONE
    if not done.exists():
        replace_text(done, json.dumps(asdict(_learnt(source, name, task, say))) + "\n")
    return Trained(**read_object(done, f"Remove {task.run}."))


def _learnt(source: Source, name: str, task: LearnTask, say: Say) -> Trained:
    seconds: dict[int, float] = {}

    def step_done(record: Mapping[str, Any]) -> None:
        seconds[int(record["step"])] = float(record["seconds"])
        if record["step"] % _SAY_EVERY == 0:
            say(f"{name}: step {record['step']} of {task.config.finetune.steps}, loss {record['loss']:.3f}")

    say(f"{name}: {task.config.finetune.steps} steps")
    end = _learn_and_select(source, task, say, step_done)
    boxes = sum(len(image.positives) for image in open_set(task.dataset).images)
    return _trained(name, task.run, (end.steps, end.pictures, boxes), sum(seconds.values()) / 60)


def _learn_and_select(
    source: Source, task: LearnTask, say: Say, step_done: Callable[[Mapping[str, Any]], None]
) -> LearnEnd:
    """As the run itself does (grounding.finetune.process), in this process."""
    from valor_ray.grounding.gate.general import read_general
    from valor_ray.grounding.learner.learn import learn
    from valor_ray.grounding.learner.select import select

    end = learn(task, say, step_done)
    settings = source.settings
    named = settings.general
    annotations = source.folder.general / "coco.json" if named is None else Path(named).expanduser()
    images = None if settings.general_images is None else Path(settings.general_images).expanduser()
    select(task, read_general(annotations, images, settings.general_limit, source.config.images), say)
    return end


def _task(source: Source, name: str, steps: int, folder: Path) -> tuple[LearnTask, dict[str, Any]]:
    """What the learner is to do, and what tells it from another control of this name."""
    from valor_ray.grounding.learner.learn import LearnTask

    folder.mkdir(parents=True, exist_ok=True)
    dataset, replay, changed = _set(source, name, folder)
    settings = source.settings.model_copy(update=_steps(source.settings, steps) | changed)
    config = source.config.model_copy(update={"finetune": settings})
    what = {"set": open_set(dataset).sha256, "replayed": replay is not None}
    return LearnTask(config, dataset, replay, folder), what | meant(config)


def _steps(settings: FinetuneConfig, steps: int) -> dict[str, Any]:
    """One process takes the pictures of all."""
    return {"steps": steps, "batch": settings.batch * settings.workers, "workers": 1}


def _set(source: Source, name: str, folder: Path) -> tuple[Path, Path | None, dict[str, Any]]:
    """Set, replay set, and settings that differ. Every step has as many pictures as the run's."""
    all_mined = source.settings.batch * source.settings.workers + source.replayed
    if name == REPLAY_ONLY:
        if source.replay is None:
            raise ConfigError(f"{source.path} has no replay set: leave out {REPLAY_ONLY} (--only).")
        # its held-back boxes are the start detector's own, by which no new weights can win: they are taken whole
        return source.replay, None, {"batch": all_mined, "replay": 0.0, "alphas": (1.0,)}
    if name == WITHOUT_REPLAY:
        return source.dataset, None, {"batch": all_mined, "replay": 0.0}
    if name == WITHOUT_NEGATIVES:
        return source.dataset, source.replay, {"absent": False, "hard_negatives": False}
    if name == REPLAY_OF_BOXES:
        return source.dataset, source.replay, {"replay_loss": "boxes"}
    if name == VERIFIED:
        return source.dataset, source.replay, {}
    made = folder / "set"
    if not (made / "dataset.json").exists():
        if source.mine is None:
            raise ConfigError(f"{source.path} was trained on a set without its mining run: {name} needs one.")
        seed = source.settings.seed
        write_control_set(name, read_mined(source.mine), made, source.grounding, source.config.images, seed)
    return made, source.replay, {}


def _trained(name: str, run: Path, sizes: tuple[int, int, int], minutes: float) -> Trained:
    """Of a folder in which the learner has selected."""
    selection = read_object(run / "selection.json", f"Remove {run}.")
    passed = bool(selection.get("passed"))
    chosen = Path(selection.get("weights") or "chosen") if passed else Path("averaged")
    return Trained(
        name,
        str(chosen if chosen.is_absolute() else run / chosen),
        *sizes,
        round(minutes, 2),
        selection.get("alpha") if passed else None,
        passed,
        dict(selection.get("general") or {}),
    )


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError naming one that is no control."""
    every = (*CONTROLS, *ABLATIONS)
    assert set(CONTROL_SETS) < set(every)
    if wrong := [name for name in names if name not in every]:
        raise ConfigError(f"No control {wrong[0]!r}: there are {', '.join(every)}.")
