"""The folder of `valor train reasoning`: its records, checkpoints, and what a run that was killed goes on with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from valor_ray.errors import ConfigError, StorageError
from valor_ray.reasoning.training.rollout import RolloutResult, Sample, sample_from
from valor_ray.reasoning.training.schedule import assignment_name
from valor_ray.runs.folder import (
    RecordFile,
    cut_torn_line,
    locked,
    public_settings,
    read_records,
    replace_text,
)

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.queries.read import Query

# Settings that decide what the run computes; the others (replicas, threads, limits) may change between two starts.
_MEANING = (
    "policy.model", "policy.prompt", "policy.thinking", "judge.model", "judge.noise",
    *(f"reward.{name}" for name in ("format", "logic", "syntax", "attribute", "spatial", "adherence")),
    *(f"grpo.{name}" for name in (
        "queries", "query_limit", "epochs", "prompts", "samples", "reserve", "temperature", "max_tokens",
        "max_lag", "learning_rate", "warmup_steps", "weight_decay", "max_grad_norm", "kl", "clip", "dtype", "lora_rank",
        "seed",
    )),
)  # fmt: skip


MERGED = "merged"  # in a checkpoint of adapters: the whole model with them


class TrainFolder:
    """Paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.queries = path / "queries.jsonl"
        self.samples = path / "samples"  # of assignments that are not recorded yet
        self.rollouts = path / "rollouts.jsonl"  # every sample once
        self.metrics = path / "metrics.jsonl"  # a line a step
        self.evaluation = path / "evaluation.jsonl"
        self.audit = path / "audit.jsonl"
        self.weights = path / "weights"
        self.checkpoints = path / "checkpoints"
        self.cache = path / "judge_cache"
        self._plan = path / "plan.json"

    def locked(self) -> AbstractContextManager[None]:
        """One run at a time. Raises ConfigError when another run writes here, or the folder cannot be made."""
        return locked(self.path, "--run")

    def prepare(self, config: Config) -> None:
        """Make the folder's parts, or check that the run in it was started with the same settings.

        Raises ConfigError naming what differs, or that the folder is another command's.
        """
        if (self.path / "rewards.jsonl").exists():
            raise ConfigError(f"--run {self.path} is a folder of `valor score`. Give another --run.")
        for folder in (self.samples, self.weights, self.checkpoints):
            folder.mkdir(exist_ok=True)
        now = config.model_dump(mode="json")
        if self.config.exists():
            try:
                before = yaml.safe_load(self.config.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError) as error:
                raise ConfigError(f"Cannot read {self.config}: {error}. Give another --run.") from error
            before = _over_defaults(before)  # a folder of an earlier version lacks settings that came later
            changed = [
                f"{key} {_at(before, key)} -> {_at(now, key)}"
                for key in _MEANING
                if _at(before, key) != _at(now, key)
            ]
            if changed:
                raise ConfigError(
                    f"--run {self.path} was started with other settings ({'; '.join(changed)}). Give them again, or "
                    "another --run."
                )
        replace_text(self.config, yaml.safe_dump(public_settings(now), sort_keys=False))

    def shards(self, config: Config) -> int:
        """Assignments that each step is split into: one for each policy replica of the first start.

        Later starts may have other replicas: recorded assignments count as they are.
        """
        if not self._plan.exists():
            replace_text(self._plan, json.dumps({"shards": min(config.policy.replicas, config.grpo.prompts)}))
        return int(json.loads(self._plan.read_text(encoding="utf-8"))["shards"])

    def keep_queries(self, queries: Sequence[Query]) -> None:
        """The queries of the run, in order. Raises ConfigError when it was started with other ones."""
        lines = "".join(
            json.dumps({"query_id": query.query_id, "question": query.question}, ensure_ascii=False) + "\n"
            for query in queries
        )
        if not self.queries.exists():
            replace_text(self.queries, lines)
        elif self.queries.read_text(encoding="utf-8") != lines:
            raise ConfigError(
                f"grpo.queries are not those that {self.queries} was started with. Give another --run."
            )

    # checkpoints

    def newest_checkpoint(self) -> Path | None:
        return max(self.checkpoints.glob("step-*"), default=None)

    @staticmethod
    def step_of(checkpoint: Path | None) -> int:
        """Updates that a checkpoint holds; 0 for none."""
        return 0 if checkpoint is None else int(checkpoint.name.removeprefix("step-"))

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:06d}"

    def policy_weights(self, step: int) -> Path:
        """The weights that a checkpoint stands for, as the engine loads them: adapters are merged."""
        merged = self.checkpoint(step) / MERGED
        return merged if merged.exists() else self.checkpoint(step)

    def keep_checkpoint(self, written: Path, step: int, newest: int, every: int | None = None) -> None:
        """Give a whole checkpoint its name; of older ones stay the first, the `newest`, and one in `every` steps."""
        target = self.checkpoint(step)
        shutil.rmtree(target, ignore_errors=True)
        try:
            os.replace(written, target)
        except OSError as error:
            raise StorageError(f"Cannot keep the checkpoint {target}: {error}.") from error
        for old in sorted(self.checkpoints.glob("step-*"))[1:-newest]:
            if every is None or self.step_of(old) % every:
                shutil.rmtree(old, ignore_errors=True)

    # what a killed run goes on with

    def go_back(self, step: int) -> None:
        """Bring the records to where a checkpoint of `step` can go on: later metrics are made again."""
        for path in (self.rollouts, self.metrics, self.audit, self.evaluation):
            cut_torn_line(path)
        known = self._cut_torn_assignment()
        for path in (self.metrics, self.evaluation):
            _keep_records(path, lambda record: bool(record["step"] <= step))
        _keep_records(self.audit, lambda record: (record["step"], record.get("shard", 0)) in known)
        FolderSamples(self.samples).forget_all({assignment_name(*assignment) for assignment in known})

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
        rows: list[dict[str, Any]] = []
        for record in read_records(self.rollouts):
            if rows and (record["step"], record["shard"]) != (rows[0]["step"], rows[0]["shard"]):
                yield RolloutResult(rows[0]["step"], rows[0]["shard"], rows, [], 0.0, 0.0)
                rows = []
            if record["step"] > after:
                rows.append(record)
        if rows:
            yield RolloutResult(rows[0]["step"], rows[0]["shard"], rows, [], 0.0, 0.0)


class FolderSamples:
    """rollout.KeptSamples on the run folder: a file a part of an assignment, gone once its rollouts are recorded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def kept(self, assignment_id: str, part: int) -> list[Sample] | None:
        path = self._folder / f"{assignment_id}-{part}.json"
        if not path.exists():
            return None
        return [sample_from(record) for record in json.loads(path.read_text(encoding="utf-8"))]

    def keep(self, assignment_id: str, part: int, samples: Sequence[Sample]) -> None:
        """Raises StorageError."""
        text = json.dumps([asdict(sample) for sample in samples], ensure_ascii=False)
        replace_text(self._folder / f"{assignment_id}-{part}.json", text)

    def forget_all(self, assignment_ids: set[str]) -> None:
        for path in self._folder.glob("s*"):
            if path.name.rpartition("-")[0] in assignment_ids:
                path.unlink(missing_ok=True)

    def forget(self, assignment_id: str) -> None:
        for path in self._folder.glob(f"{assignment_id}-*.json*"):
            path.unlink(missing_ok=True)


class Recorder:
    """Appends outcomes to the run folder: an assignment's rollouts in one write."""

    def __init__(self, folder: TrainFolder) -> None:
        self._rollouts = RecordFile(folder.rollouts, keep=True)
        self._audit = RecordFile(folder.audit, keep=True)
        self._kept_samples = FolderSamples(folder.samples)

    def record(self, outcome: RolloutResult) -> None:
        """Raises StorageError."""
        count = len(outcome.rollouts)
        for (
            canary
        ) in outcome.audit:  # before the rollouts, which tell whether the assignment has been recorded
            self._audit.append(canary)
        self._rollouts.append_all([row | {"of": count} for row in outcome.rollouts])
        self._kept_samples.forget(assignment_name(outcome.step, outcome.shard))

    def close(self) -> None:
        self._rollouts.close()
        self._audit.close()


def _keep_records(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Write the file anew without the records that are not wanted, if there are any."""
    records = list(read_records(path)) if path.exists() else []
    kept = [record for record in records if wanted(record)]
    if len(kept) < len(records):
        replace_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept))


def _over_defaults(settings: Any) -> dict[str, Any]:
    from valor_ray.config.judging import RewardConfig
    from valor_ray.config.training import GrpoConfig

    found = dict(settings) if isinstance(settings, Mapping) else {}
    for name, section in (("grpo", GrpoConfig), ("reward", RewardConfig)):
        given = found.get(name)
        found[name] = section().model_dump(mode="json") | (given if isinstance(given, dict) else {})
    return found


def _at(settings: Any, key: str) -> Any:
    """The value of a setting; None where a file holds none."""
    for name in key.split("."):
        settings = settings.get(name) if isinstance(settings, Mapping) else None
    return settings
