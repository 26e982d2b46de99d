"""A run of `valor train reasoning` at its end: settings, weights, queries, held-out questions, and what it spent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.benchmarks.data import own
from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.grounding.finetune.folder import read_object
from valor_ray.models.adapters import read_adapters
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.records import Query
from valor_ray.runs.folder import REASONING, changes, check_kind
from valor_ray.runs.record_file import read_records, replace_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from valor_ray.benchmarks.truth import Truth

    Say = Callable[[str], None]

BASE, TRAINED, CHOSEN = "base", "trained", "chosen"
EVALUATION = "evaluation"  # in the run folder, as `valor train reasoning` makes it
_FILES = (
    ".safetensors",
    ".bin",
    ".json",
    ".txt",
    ".jinja",
    ".model",
)  # of a model that decide what it writes
_NO_MODEL = (
    "trainer_state.json",
    "metrics.jsonl",
)  # beside the weights of a checkpoint, of no weight to its replies


@dataclass(frozen=True)
class Weights:
    """A policy whose answers are measured."""

    name: str  # BASE, TRAINED, or the control that made them
    model: str  # a folder, or a hub id

    @cached_property
    def digest(self) -> str:
        """16 hex digits by which its files are told apart; a hub id stands for itself."""
        place, digest = Path(resolve_model(self.model)), hashlib.sha256()
        if not place.is_dir():
            digest.update(self.model.encode())
            return digest.hexdigest()[:16]
        for path in sorted(place.iterdir()):
            if path.is_file() and path.suffix in _FILES and path.name not in _NO_MODEL:
                digest.update(path.name.encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Spent:
    """What judging a run's samples took."""

    calls: int  # requests sent
    cost_usd: float
    rollouts: int


class Source:
    """The run that the controls are of."""

    def __init__(
        self,
        path: Path,
        overrides: Sequence[str] = (),
        data: Path | None = None,
        questions: int | None = None,
    ) -> None:
        """data: the folder of the run's held-out questions, where it was given its own (--eval-data). questions: the
        first so many; None: all.

        Raises ConfigError: another command's folder, a run that is not at its end, settings that would make it another
        run, no held-out questions.
        """
        check_kind(path, REASONING)
        self.folder = TrainFolder(path.resolve())
        self.path = self.folder.path
        if not self.folder.config.exists() or not self.folder.checkpoints.newest():
            raise ConfigError(
                f"--run {path} has trained nothing yet: `valor train reasoning --run {path}` first."
            )
        self.config = Config.load(str(self.folder.config), overrides)
        self.folder.check(self.config)
        self.training = [
            Query(str(row["query_id"]), str(row["question"]), str(row.get("image", "")))
            for row in read_records(self.folder.queries)
        ]
        self.steps = self._made(path)
        self.queries, self.truths = self._held_out(data, questions)

    def _made(self, path: Path) -> int:
        """Updates. Raises ConfigError while there are more to come."""
        made = self.folder.checkpoints.newest()
        planned = self.config.grpo.number_of_steps(len(self.training))
        if made < planned and not self.report.get("stopped"):
            raise ConfigError(
                f"--run {path} has made {made} of {planned} steps: `valor train reasoning --run {path}` goes on."
            )
        return made

    def _held_out(self, data: Path | None, questions: int | None) -> tuple[list[Query], dict[str, Truth]]:
        folder = self.path / EVALUATION / "data" if data is None else data
        if not folder.exists():
            raise ConfigError(
                f"{folder} is not there: the run was asked no held-out questions of its own. Give --eval-data, a "
                "folder of questions with their answers."
            )
        queries, truths = own.load(folder, questions)
        if questions is not None and len(queries) < questions:
            raise ConfigError(f"{folder} holds {len(queries)} questions: give --questions no more than that.")
        return queries, truths

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """report.json; empty where it cannot be read."""
        try:
            held = json.loads((self.path / "report.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return held if isinstance(held, Mapping) else {}

    def weights(self) -> dict[str, Weights]:
        """The policy that training began with, the last one, and the one that the run names, where it is another.

        Raises ConfigError: adapters alone.
        """
        last = self.folder.checkpoints.policy_weights(self.steps)
        if read_adapters(last) is not None:
            raise ConfigError(
                f"{last} holds adapters alone, of a run that ended before its last step: nothing whole to measure."
            )
        made = {BASE: Weights(BASE, self.config.policy.model), TRAINED: Weights(TRAINED, str(last))}
        chosen = Weights(CHOSEN, str(self.path / "chosen"))
        if (self.path / "chosen" / "config.json").exists() and chosen.digest != made[TRAINED].digest:
            made[CHOSEN] = chosen
        return made

    @cached_property
    def spent(self) -> Spent:
        rows = [(row.get("calls") or 0, row.get("cost_usd") or 0.0) for row in self._rollouts()]
        return Spent(sum(calls for calls, _ in rows), sum(cost for _, cost in rows), len(rows))

    def _rollouts(self) -> list[dict[str, Any]]:
        rows = (row for row in read_records(self.folder.rollouts) if row["step"] <= self.steps)
        return [{key: row.get(key) for key in ("calls", "cost_usd")} for row in rows]

    def control(self, name: str) -> Path:
        """The folder of a control that is trained. Raises ConfigError when it belongs to the run as it was before."""
        folder = self.path / "controls" / name
        now = {"steps": self.steps, "rollouts": self.spent.rollouts, "calls": self.spent.calls}
        path = folder / "control.json"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            replace_text(path, json.dumps(now) + "\n")
        elif changed := changes(read_object(path, f"Remove {folder}."), now):
            raise ConfigError(
                f"{folder} was made when the run was another ({changed}). Remove that folder, or leave out {name} "
                "(--only)."
            )
        return folder

    @property
    def alone(self) -> Config:
        """The settings of a training in this process, which no tracker, audit, choice or evaluation follows, and which
        finds no answers of judges in a place that it shares."""
        off = {"workers": 1, "trackers": (), "wandb_project": None, "eval_questions": 0, "eval_every": None}
        return self.config.model_copy(
            update={
                "grpo": self.config.grpo.model_copy(update={"steps": self.steps, **off}),
                "reward": self.config.reward.model_copy(update={"audit_every": 0}),
                "stopping": self.config.stopping.model_copy(update={"questions": 0}),
                "judge": self.config.judge.model_copy(update={"cache_dir": None}),
                "vlm": self.config.vlm.model_copy(update={"cache_dir": None}),
            }
        )
