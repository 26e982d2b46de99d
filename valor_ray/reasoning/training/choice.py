"""The checkpoint to take, chosen without labels: signals of version 0 and of the kept checkpoints, and RUN/chosen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from valor_ray.errors import CheckpointError, StorageError
from valor_ray.judges.audit import Audit
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.reasoning.training.host import RunningHost
from valor_ray.runs.record_file import RecordFile, read_records, replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.ports import Sampler
    from valor_ray.wiring import OpenEyes

_LEARNERS = ("trainer_state.json",)  # beside a checkpoint's model, of no use to whoever takes it
_WEIGHTS = ".safetensors"
_MODELS = ("*.json", f"*{_WEIGHTS}", "*.txt", "*.model", "*.jinja")
_KL_STEPS = 5  # that a version's divergence is the mean of

Say = Callable[[str], None]


class StopSignals(Protocol):
    """stopping.held_back.HeldBackQuestions: measures versions and chooses one; no label is in its reach."""

    asked: str  # names its questions: records of others do not count

    async def measure(
        self,
        sampler: Sampler,
        eyes: OpenEyes,
        steps: Sequence[int],
        carry: Callable[[int], None],
        record: Callable[[Mapping[str, Any]], None],
        say: Say,
    ) -> None: ...

    def choose(
        self, records: Sequence[Mapping[str, Any]], kl: Mapping[int, float | None], alarm: str
    ) -> dict[str, Any]: ...


class Choice:
    """Called by `train` in the driver, before the first step and after the last; waits for all that it measures.

    A kill leaves whole records: the next start measures what is missing, on the replies that are kept.
    """

    def __init__(self, folder: TrainFolder, config: Config, signals: StopSignals | None, say: Say) -> None:
        """signals: None where there is nothing to ask: then every call does nothing."""
        self._folder, self._config, self._signals, self._say = folder, config, signals, say

    def missing(self, last: int) -> list[int]:
        """Versions that wait to be measured when training has ended at step `last`."""
        if self._signals is None or last == 0:
            return []
        every = self._config.kept_every
        steps = [step for step in range(1, last) if any(step % each == 0 for each in every)]
        kept = [step for step in [*steps, last] if self._folder.checkpoints.has_model(step)]
        known = {record["step"] for record in self._records()}
        return [step for step in kept if step not in known]

    def lacks_start(self) -> bool:
        """Whether version 0 waits to be measured."""
        return self._signals is not None and all(record["step"] for record in self._records())

    def measure_start(self, running: RunningHost) -> None:
        """Of version 0, which the engines start with."""
        if self.lacks_start():
            self._measure(running, [0], lambda step: None)

    def measure(self, running: RunningHost, last: int, weights: Callable[[int], Path]) -> None:
        """Of the checkpoints that wait; weights: what the run's engines load of one."""
        if missing := self.missing(last):
            self._measure(running, missing, lambda step: running.carry(step, weights(step)))

    def _measure(self, running: RunningHost, steps: Sequence[int], carry: Callable[[int], None]) -> None:
        assert self._signals is not None
        with closing(RecordFile(self._folder.signals, keep=True)) as file:
            work = partial(self._signals.measure, running.policy, running.eyes, steps, carry, file.append)
            running.call(work(self._say))

    def _records(self) -> list[dict[str, Any]]:
        """Of these questions; of a step that was recorded twice the later."""
        asked = None if self._signals is None else self._signals.asked
        known = {row["step"]: row for row in read_records(self._folder.signals) if row["asked"] == asked}
        return [known[step] for step in sorted(known)]

    def write(self) -> None:
        """take.json and chosen/, by what is recorded of versions that can be taken; where that has not changed, what
        is there stays."""
        records = [record for record in self._records() if self._to_be_had(record["step"])]
        if self._signals is None or not any(record["step"] for record in records):
            return
        metrics = {record["step"]: record.get("kl") for record in read_records(self._folder.metrics)}
        steps = [record["step"] for record in records]
        audit = Audit(self._config.reward)
        for record in read_records(self._folder.audit):
            audit.add(record)
        take = self._signals.choose(records, _divergence(metrics, steps), audit.report()["alarm"])
        take["weights"] = self._folder.chosen.name if take["step"] else None
        if take["step"]:
            self._keep(take["step"])
        else:
            shutil.rmtree(self._folder.chosen, ignore_errors=True)
        replace_text(self._folder.take, json.dumps(take, indent=1) + "\n")
        self._say(f"without labels, take step {take['step']}: {take['why']}")

    def _to_be_had(self, step: int) -> bool:
        """Records outlive their checkpoints: of later starts, other steps may be kept."""
        return step == 0 or self._is_chosen(step) or self._folder.checkpoints.has_model(step)

    def _is_chosen(self, step: int) -> bool:
        """Whether chosen/ has the model of `step`."""
        mark = self._folder.chosen / "step"
        return mark.exists() and mark.read_text(encoding="utf-8") == f"{step}\n"

    def _keep(self, step: int) -> None:
        """The model of a checkpoint, adapters merged, as chosen/: whole or not at all. Raises CheckpointError."""
        if self._is_chosen(step):
            return
        model, chosen = self._folder.checkpoints.policy_weights(step), self._folder.chosen
        files = sorted({path for pattern in _MODELS for path in model.glob(pattern)})
        if not any(path.suffix == _WEIGHTS for path in files):
            raise CheckpointError(
                f"{model} has no weights (*{_WEIGHTS}), and step {step} is the one to take. Put its files back, or "
                f"remove the line of step {step} in {self._folder.signals}."
            )
        part = chosen.with_name(f"{chosen.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            part.mkdir()
            for path in files:
                if path.name not in _LEARNERS:
                    _link(path, part / path.name)
            (part / "step").write_text(f"{step}\n", encoding="utf-8")
            shutil.rmtree(chosen, ignore_errors=True)
            part.rename(chosen)
        except OSError as error:
            raise StorageError(f"Cannot write the chosen weights to {chosen}: {error}.") from error


def _divergence(metrics: Mapping[int, float | None], steps: Sequence[int]) -> dict[int, float | None]:
    """The mean of the steps up to each; None where none is known."""
    means: dict[int, float | None] = {}
    for step in steps:
        near = [metrics.get(one) for one in range(step - _KL_STEPS + 1, step + 1)]
        known = [value for value in near if value is not None]
        means[step] = sum(known) / len(known) if known else None
    return means


def _link(source: Path, target: Path) -> None:
    """No further room is taken, where the disk can do so; nobody writes into either."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
