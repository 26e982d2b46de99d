"""The folder of `valor train reasoning`: its records, checkpoints, and what a run that was killed goes on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.config.judging import RewardConfig
from valor_ray.config.training import GrpoConfig
from valor_ray.errors import ConfigError
from valor_ray.reasoning.scoring.folder import (
    judges_meaning,
    prompt_versions,
    reward_meaning,
    save_prompts,
    saved_prompts,
)
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.reasoning.training.schedule import assignment_name, shards_of
from valor_ray.records import Rollout, Sample
from valor_ray.runs.checkpoints import STEP
from valor_ray.runs.folder import REASONING, changes, claimed, meaning, save_settings, saved_settings
from valor_ray.runs.record_file import RecordFile, cut_torn_line, keep_records, read_records, replace_text
from valor_ray.runs.store.checkpoints import checkpoints_at
from valor_ray.runs.store.objects import ObjectStore
from valor_ray.runs.store.place import commit, objects_of
from valor_ray.runs.weight_channel import PublishedFile

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.records import Query

# Settings that decide what the run computes, beside those of rewards and judges (scoring.folder); the others (replicas,
# threads, limits) may change between two starts.
_MEANING = (
    "policy.model", "policy.prompt", "policy.thinking",
    *(f"grpo.{name}" for name in (
        "queries", "query_limit", "epochs", "prompts", "samples", "reserve", "temperature", "max_tokens",
        "max_lag", "learning_rate", "warmup_steps", "weight_decay", "max_grad_norm", "kl", "clip", "delta", "dtype",
        "lora_rank", "curriculum", "seed", "scene_seed",
    )),
)  # fmt: skip


class TrainFolder:
    """Paths and records of one run: it goes on from here after a kill, and repeats nothing that is recorded.

    Called by `train` and `replay` in the driver, which hold its lock; workers and learner processes use its paths.
    Waits for nobody: a second run in the same folder is refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.queries = path / "queries.jsonl"
        self.samples = path / "samples"  # of assignments that are not recorded yet
        self.rollouts = path / "rollouts.jsonl"  # every sample once
        self.metrics = path / "metrics.jsonl"  # a line a step
        self.evaluation = path / "evaluation.jsonl"
        self.audit = path / "audit.jsonl"
        self.signals = path / "signals.jsonl"  # a line a version: what its replies are worth, without labels
        self.signals_work = path / "signals"  # their replies, and what judges said of these
        self.take = path / "take.json"  # the version to take by these
        self.chosen = path / "chosen"  # its model
        self.weights = path / "weights"
        self.checkpoints = checkpoints_at(path / "checkpoints")
        self.cache = path / "judge_cache"
        self._plan = path / "plan.json"
        self._prompts = path / "prompts.json"  # versions of the judges' prompts

    def locked(self) -> AbstractContextManager[None]:
        """One run at a time.

        Raises ConfigError when another run writes here, the folder is another command's, or cannot be made.
        """
        return claimed(self.path, REASONING)

    def prepare(self, config: Config) -> None:
        """Make the folder's parts, or check that the run in it was started with the same settings.

        Raises ConfigError naming what differs.
        """
        for folder in (self.samples, self.weights, self.checkpoints.part.parent):
            folder.mkdir(exist_ok=True)
        if self.config.exists():
            self.check(config)
        save_prompts(self._prompts, config.reward)
        save_settings(self.config, config)

    def check(self, config: Config) -> None:
        """Raises ConfigError naming what differs from the settings, and the judges' prompts, that decide what the run
        in here computes."""
        saved = saved_settings(self.config, "--run", {"grpo": GrpoConfig, "reward": RewardConfig})
        prompts = prompt_versions(config.reward)
        # a run from before they were kept has none, nor has any of a prompt that came later
        known = saved_prompts(self._prompts, "--run") if self._prompts.exists() else {}
        before = _meaning(saved) | prompts | known
        if changed := changes(before, _meaning(config.model_dump(mode="json")) | prompts):
            raise ConfigError(
                f"--run {self.path} was started with other settings ({changed}). Give them again, or another --run."
            )

    def shards(self, config: Config) -> int:
        """Assignments that each step is split into, as the first start had it (schedule.shards_of).

        Later starts may have other replicas: recorded assignments count as they are.
        """
        if not self._plan.exists():
            replace_text(self._plan, json.dumps({"shards": shards_of(config)}))
        return int(json.loads(self._plan.read_text(encoding="utf-8"))["shards"])

    def keep_queries(self, queries: Sequence[Query]) -> None:
        """The queries of the run, in order. Raises ConfigError when it was started with other ones.

        `valor eval` reads them: what a policy was trained on is no measure of it. Pictures may lie elsewhere by then.
        """
        if not self.queries.exists():
            lines = [json.dumps(asdict(query), ensure_ascii=False) + "\n" for query in queries]
            replace_text(self.queries, "".join(lines))
            return
        before = [(row["query_id"], row["question"]) for row in read_records(self.queries)]
        if before != [(query.query_id, query.question) for query in queries]:
            raise ConfigError(
                f"grpo.queries are not those that {self.queries} was started with. Give another --run."
            )

    # what a killed run goes on with

    def go_back(self, step: int) -> None:
        """Bring the records to where a checkpoint of `step` can go on: later metrics are made again.

        Without a checkpoint nothing is published any more: engines are to start as the run did, for version 0 is asked.
        """
        if step == 0:
            PublishedFile(self.path).withdraw()
        cut_torn_line(self.rollouts)
        known = self._cut_torn_assignment()
        for path in (self.metrics, self.evaluation, self.signals):
            keep_records(path, lambda record: bool(record["step"] <= step))
        for later in self.signals_work.glob("step-*"):
            if (match := STEP.fullmatch(later.name)) and int(match[1]) > step:
                shutil.rmtree(later)
        keep_records(self.audit, lambda record: (record["step"], record.get("shard", 0)) in known)
        samples_at(self.samples).forget_all({assignment_name(*assignment) for assignment in known})

    def lost_metrics(self, step: int) -> list[dict[str, Any]]:
        """Records that the checkpoint of `step` holds and `metrics` lacks: the driver died before it had them."""
        known = {record["step"] for record in read_records(self.metrics)}
        return [record for record in self.checkpoints.metrics(step) if record["step"] not in known]

    def _cut_torn_assignment(self) -> set[tuple[int, int]]:
        """(step, shard) of the assignments that are recorded whole; a kill may have left a part of the last one."""
        whole: set[tuple[int, int]] = set()
        if not self.rollouts.exists():
            return whole
        last, start, count, at = None, 0, 0, 0
        wanted = 0
        with self.rollouts.open("rb+") as file:
            for line, record in zip(file, read_records(self.rollouts), strict=True):
                assignment = (record["step"], record["shard"])
                if assignment != last:
                    last, start, count, wanted = assignment, at, 0, record["of"]
                count, at = count + 1, at + len(line)
                whole.add(assignment)
            if last is not None and count < wanted:
                file.truncate(start)
                whole.discard(last)
        return whole

    def recorded(self, after: int) -> Iterator[RolloutResult]:
        """Outcomes of recorded assignments of steps later than `after`. Memory: one assignment."""
        rollouts: list[Rollout] = []
        for record in read_records(self.rollouts):
            if rollouts and (record["step"], record["shard"]) != (rollouts[0].step, rollouts[0].shard):
                yield RolloutResult(rollouts[0].step, rollouts[0].shard, rollouts, [], 0.0, 0.0)
                rollouts = []
            if record["step"] > after:
                rollouts.append(Rollout.from_record(record))
        if rollouts:
            yield RolloutResult(rollouts[0].step, rollouts[0].shard, rollouts, [], 0.0, 0.0)


def _meaning(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings saved before there was a section vlm asked the judge about pictures, without further fields."""
    seeing = {"vlm": settings.get("vlm") or settings.get("judge")}
    return meaning(settings, _MEANING) | reward_meaning(settings) | judges_meaning(seeing, "vlm")


class FolderSamples:
    """rollout.KeptSamples on the run folder: a file a part of an assignment, gone once its rollouts are recorded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def kept(self, assignment_id: str, part: int) -> list[Sample] | None:
        path = self._folder / f"{assignment_id}-{part}.json"
        if not path.exists():
            return None
        return [Sample.from_record(record) for record in json.loads(path.read_text(encoding="utf-8"))]

    def keep(self, assignment_id: str, part: int, samples: Sequence[Sample]) -> None:
        """Raises StorageError."""
        text = json.dumps([sample.to_record() for sample in samples], ensure_ascii=False)
        replace_text(self._folder / f"{assignment_id}-{part}.json", text)

    def forget_all(self, assignment_ids: set[str]) -> None:
        for path in self._folder.glob("s*"):
            if path.name.rpartition("-")[0] in assignment_ids:
                path.unlink(missing_ok=True)

    def forget(self, assignment_id: str) -> None:
        for path in self._folder.glob(f"{assignment_id}-*.json*"):
            path.unlink(missing_ok=True)


class StoredSamples:
    """FolderSamples at a URL, for workers that share no disk: an object a part. It waits for the store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def kept(self, assignment_id: str, part: int) -> list[Sample] | None:
        held = self._objects.read(f"{assignment_id}-{part}.json")
        return None if held is None else [Sample.from_record(record) for record in json.loads(held)]

    def keep(self, assignment_id: str, part: int, samples: Sequence[Sample]) -> None:
        """Raises StorageError."""
        text = json.dumps([sample.to_record() for sample in samples], ensure_ascii=False)
        self._objects.write(f"{assignment_id}-{part}.json", text.encode())

    def forget_all(self, assignment_ids: set[str]) -> None:
        self._objects.remove(
            name for name in self._objects.names() if name.rpartition("-")[0] in assignment_ids
        )

    def forget(self, assignment_id: str) -> None:
        self.forget_all({assignment_id})


def samples_at(folder: Path) -> FolderSamples | StoredSamples:
    objects = objects_of(folder)
    return FolderSamples(folder) if objects is None else StoredSamples(objects)


class Recorder:
    """Appends outcomes to the run folder: an assignment's rollouts in one write, so that it is there whole or not.

    Called by the driver alone, with each outcome before the buffer gets it: what is trained on is recorded.
    Waits for the writes.
    """

    def __init__(self, folder: TrainFolder) -> None:
        self._rollouts = RecordFile(folder.rollouts, keep=True)
        self._audit = RecordFile(folder.audit, keep=True)
        self._kept_samples, self._run = samples_at(folder.samples), folder.path

    def record(self, outcome: RolloutResult) -> None:
        """Raises StorageError."""
        count = len(outcome.rollouts)
        self._audit.append_all(
            outcome.audit
        )  # first: the rollouts tell whether the assignment has been recorded
        self._rollouts.append_all([rollout.to_record() | {"of": count} for rollout in outcome.rollouts])
        commit(self._run)
        self._kept_samples.forget(assignment_name(outcome.step, outcome.shard))

    def close(self) -> None:
        self._rollouts.close()
        self._audit.close()
