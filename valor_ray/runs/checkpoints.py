"""The checkpoints of a learner: what a run goes on from. A port, and its first implementation, a folder.

A checkpoint is not a publication (law 13): nobody waits for it, and it holds the optimizer too.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from valor_ray.errors import StorageError
from valor_ray.runs.record_file import RecordFile, read_records

MERGED = "merged"  # in a checkpoint: the whole model, where the checkpoint itself is another thing
AVERAGE = "average.safetensors"  # in a checkpoint whose run hands on these, not the model beside them
STEP = re.compile(r"step-(\d{6,})")  # the name of a checkpoint
METRICS = "metrics.jsonl"  # in a checkpoint: the metrics records of the steps that it holds


@dataclass(frozen=True)
class Keep:
    """Which checkpoints stay: the first, the `newest`, multiples of `every`; but no more than fit into `most_bytes`."""

    newest: int
    every: tuple[int, ...] = ()
    most_bytes: float | None = None  # the newest one stays however large it is

    def forgotten(self, sizes: Mapping[int, int]) -> list[int]:
        """Of checkpoints (step -> bytes), the steps of those that go."""
        steps = sorted(sizes)
        gone = [step for step in steps[1 : -self.newest] if all(step % every for every in self.every)]
        left = [step for step in steps if step not in gone]
        while (
            self.most_bytes is not None
            and len(left) > 1
            and sum(sizes[step] for step in left) > self.most_bytes
        ):
            gone.append(left.pop(0))
        return gone


class CheckpointStore(Protocol):
    """Durable state of a learner: whole checkpoints by step, of which the first, the newest few and some stay.

    The learner's processes read and its first one keeps; the driver asks where a run goes on, and what is evaluated.
    Blocks until a checkpoint is where it survives the process.
    """

    @property
    def part(self) -> Path:
        """A folder of this machine where the learner writes a checkpoint before it is kept."""
        ...

    def newest(self) -> int:
        """Updates that the newest checkpoint holds; 0: there is none."""
        ...

    def has(self, step: int) -> bool: ...

    def checkpoint(self, step: int) -> Path:
        """A folder of this machine with the checkpoint of `step`."""
        ...

    def has_model(self, step: int) -> bool:
        """Whether there is a checkpoint of `step` whose `policy_weights` can be used (`holds_model`)."""
        ...

    def policy_weights(self, step: int) -> Path:
        """A folder with the whole model that the checkpoint stands for; of adapters that were not evaluated, those."""
        ...

    def metrics(self, step: int) -> list[dict[str, Any]]:
        """The metrics records that the checkpoint of `step` holds, in order; none if an earlier version wrote it."""
        ...

    def bring(self, written: Path, rank: int) -> None:
        """Bring what process `rank` has written of a checkpoint to where it outlives the machine.

        Called by every process, before the first one calls `keep`. Raises StorageError.
        """
        ...

    def keep(self, written: Path, step: int, rule: Keep) -> None:
        """Take a checkpoint that all have written and brought; of older ones stay those of the rule.

        Raises StorageError.
        """
        ...

    def forget_part(self) -> None:
        """Remove what a checkpoint that was not kept has left."""
        ...


class FolderCheckpoints:
    """A folder a step, `step-000012`, there whole or not at all.

    Called as CheckpointStore is; all who call it see the folder under the same path.
    Blocks on renames and removals only: what is kept has been written on the same disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.part = folder / "part"

    def newest(self) -> int:
        return max(self._held(), default=0)

    def has(self, step: int) -> bool:
        return self.checkpoint(step).exists()

    def checkpoint(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def has_model(self, step: int) -> bool:
        return holds_model({path.name for path in self.checkpoint(step).glob("*")})

    def policy_weights(self, step: int) -> Path:
        merged = self.checkpoint(step) / MERGED
        return merged if merged.exists() else self.checkpoint(step)

    def metrics(self, step: int) -> list[dict[str, Any]]:
        return list(read_records(self.checkpoint(step) / METRICS))

    def bring(self, written: Path, rank: int) -> None:
        """All write on one disk."""

    def keep(self, written: Path, step: int, rule: Keep) -> None:
        target = self.checkpoint(step)
        shutil.rmtree(target, ignore_errors=True)
        try:
            os.replace(written, target)
        except OSError as error:
            raise StorageError(f"Cannot keep the checkpoint {target}: {error}.") from error
        held = self._held()
        sized = rule.most_bytes is not None
        for old in rule.forgotten({step: _bytes(path) if sized else 0 for step, path in held.items()}):
            shutil.rmtree(held[old], ignore_errors=True)

    def forget_part(self) -> None:
        shutil.rmtree(self.part, ignore_errors=True)

    def _held(self) -> dict[int, Path]:
        """By step. What somebody has set aside under another name is none of them."""
        named = ((STEP.fullmatch(path.name), path) for path in self.folder.glob("step-*"))
        return {int(match[1]): path for match, path in named if match}


def holds_model(names: Collection[str]) -> bool:
    """By what lies in a checkpoint. Parts of a sharded model are for the learner alone, and so is a model beside its
    average: of those the model is in `merged`, where the step was evaluated."""
    return MERGED in names or (AVERAGE not in names and any(name.endswith(".safetensors") for name in names))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write_metrics(checkpoint: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Put the records of the steps that a checkpoint holds into it, before it is kept. Raises StorageError."""
    with closing(RecordFile(checkpoint / METRICS, keep=False)) as file:
        file.append_all(records)
