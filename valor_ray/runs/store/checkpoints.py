"""Checkpoints of a learner in an object store, brought by every process of it, on however many machines."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from valor_ray.config.training import learner_processes
from valor_ray.runs.checkpoints import (
    MERGED,
    METRICS,
    STEP,
    CheckpointStore,
    FolderCheckpoints,
    Keep,
    holds_model,
)
from valor_ray.runs.store import folders
from valor_ray.runs.store.objects import ObjectStore
from valor_ray.runs.store.place import objects_of

_OF_A_PROCESS = re.compile(r"(?:^|/)(?:rng_state_|__)(\d+)[._]")  # Hugging Face's and DCP's names
_NAME = "checkpoints"


def checkpoints_at(folder: Path) -> CheckpointStore:
    """Those of a run, by its folder `checkpoints`."""
    objects = objects_of(folder.parent)
    return FolderCheckpoints(folder) if objects is None else StoredCheckpoints(folder, objects)


class StoredCheckpoints:
    """runs.checkpoints.CheckpointStore: `checkpoints/step-000012` under the run's URL, there whole or not at all.

    Called as CheckpointStore is, by processes that share no disk: each writes into `part` on its own machine, and
    brings its own files. The machine that kept a checkpoint, or has fetched one, does not download it again.
    Blocks on the store.
    """

    def __init__(self, folder: Path, objects: ObjectStore) -> None:
        """folder: of this machine. objects: of the run."""
        self.folder, self._objects = folder, objects
        self.part = folder / "part"

    def newest(self) -> int:
        return max(self._steps(), default=0)

    def has(self, step: int) -> bool:
        return step in self._steps()

    def checkpoint(self, step: int) -> Path:
        return folders.fetched(self._objects, _name(step), self.folder / f"step-{step:06d}")

    def has_model(self, step: int) -> bool:
        files = folders.whole(self._objects, _name(step)) or {}
        return holds_model({name.partition("/")[0] for name in files})

    def policy_weights(self, step: int) -> Path:
        files = folders.whole(self._objects, _name(step)) or {}
        under = MERGED if any(name.startswith(f"{MERGED}/") for name in files) else ""
        return folders.fetched(self._objects, _name(step), self.folder / f"step-{step:06d}", under)

    def metrics(self, step: int) -> list[dict[str, Any]]:
        lines = self._objects.read(f"{_name(step)}/{METRICS}") or b""
        return [json.loads(line) for line in lines.splitlines()]

    def bring(self, written: Path, rank: int) -> None:
        step = int(written.name.rpartition("-")[2])
        folders.bring(self._objects, _name(step), written, rank, lambda file: _owner(file) == rank)
        if rank:  # the first one's go on being of use here
            for path in [path for path in written.rglob("*") if path.is_file()]:
                if _owner(path.relative_to(written).as_posix()) == rank:
                    path.unlink()

    def keep(self, written: Path, step: int, rule: Keep) -> None:
        files = folders.commit(self._objects, _name(step), learner_processes())
        target = self.folder / f"step-{step:06d}"
        for old in self.folder.glob("step-*"):
            shutil.rmtree(old, ignore_errors=True)
        folders.note_here(written, files)
        written.rename(target)
        sizes = {other: self._size(other) if rule.most_bytes is not None else 0 for other in self._steps()}
        for old_step in rule.forgotten(sizes):
            folders.remove(self._objects, _name(old_step))

    def forget_part(self) -> None:
        shutil.rmtree(self.part, ignore_errors=True)

    def _steps(self) -> list[int]:
        names = map(STEP.fullmatch, folders.whole_names(self._objects, _NAME))
        return [int(match[1]) for match in names if match]

    def _size(self, step: int) -> int:
        return folders.size_of(folders.whole(self._objects, _name(step)) or {})


def _name(step: int) -> str:
    return f"{_NAME}/step-{step:06d}"


def _owner(file: str) -> int:
    """The process that has written a file of a checkpoint."""
    match = _OF_A_PROCESS.search(file)
    return int(match[1]) if match else 0
