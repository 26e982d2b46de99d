"""Folders in a store that are there whole or not at all: checkpoints, published weights.

NAME/FILE …           what is in it
NAME/written-R.json   what process R has brought, with its hashes
NAME/whole.json       all of it; last, and only then the folder is there
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from valor_ray.errors import CheckpointError, StorageError
from valor_ray.runs.store.objects import ObjectStore

WHOLE = "whole.json"
_AT_ONCE = 8
Files = dict[str, list[int | str]]  # name -> [bytes, sha256]


def bring(
    objects: ObjectStore, name: str, folder: Path, rank: int = 0, mine: Callable[[str], bool] | None = None
) -> None:
    """Upload what process `rank` has written of a folder; `mine` says which files those are (None: all).

    Raises StorageError.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in paths]
    own = [(path, file) for path, file in zip(paths, names, strict=True) if mine is None or mine(file)]

    def send(one: tuple[Path, str]) -> tuple[str, list[int | str]]:
        path, file = one
        told: list[int | str] = [path.stat().st_size, sha256(path)]
        objects.upload(path, f"{name}/{file}")
        return file, told

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        written = dict(threads.map(send, own))
    objects.write(f"{name}/written-{rank}.json", json.dumps(written).encode())


def commit(objects: ObjectStore, name: str, processes: int = 1) -> Files:
    """The folder is there from now on, with what so many processes have brought; called once, after them.

    Gives what is in it. Raises StorageError.
    """
    files: Files = {}
    for rank in range(processes):  # an attempt of another number of processes may have left notes of more
        files |= json.loads(objects.read(f"{name}/written-{rank}.json") or b"{}")
    objects.write(f"{name}/{WHOLE}", json.dumps(files, sort_keys=True).encode())
    return files


def whole(objects: ObjectStore, name: str) -> Files | None:
    """What is in the folder; None: it is not there. Raises CheckpointError, StorageError."""
    held = objects.read(f"{name}/{WHOLE}")
    if held is None:
        return None
    try:
        return dict(json.loads(held))
    except ValueError as error:
        raise CheckpointError(f"{objects.url}/{name}/{WHOLE} cannot be read ({error}).") from error


def whole_names(objects: ObjectStore, prefix: str) -> list[str]:
    """The folders under `prefix` that are there, without it."""
    ends = f"/{WHOLE}"
    return sorted(
        name.removeprefix(f"{prefix}/").removesuffix(ends)
        for name in objects.names(prefix)
        if name.endswith(ends)
    )


def size_of(files: Files) -> int:
    return sum(int(size) for size, _ in files.values())


def remove(objects: ObjectStore, name: str) -> None:
    """First what says that it is there. Raises StorageError."""
    objects.remove([f"{name}/{WHOLE}"])
    objects.remove(objects.names(name))


def fetched(objects: ObjectStore, name: str, folder: Path, under: str = "") -> Path:
    """The folder on this machine, downloaded unless it is there as the store has it: once a machine, whoever asks.

    under: a folder in it, which alone is wanted, and given. Raises CheckpointError when it is not in the store, or is
    not what whole.json says; StorageError.
    """
    if under:
        name, folder = f"{name}/{under}", folder / under
    with _one_at_a_time(folder):
        files = _under(whole(objects, name.removesuffix(f"/{under}") if under else name), under)
        if not files:
            raise CheckpointError(f"{objects.url}/{name} is not there, or was not written to its end.")
        if _is_here(folder, files):
            return folder
        part = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                list(threads.map(lambda file: _fetch(objects, name, file, files, part), files))
            note_here(part, files)
            if folder.exists():  # whoever reads in it goes on with what is open
                folder.rename(folder.with_name(f"{part.name}.part"))
            part.rename(folder)
        except OSError as error:
            raise StorageError(
                f"Cannot write {folder} ({error.strerror or error}). Make room there."
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(folder.with_name(f"{part.name}.part"), ignore_errors=True)
    return folder


def note_here(folder: Path, files: Files) -> None:
    """From now on the folder of this machine stands for the store's, which is then not downloaded."""
    (folder / WHOLE).write_text(json.dumps(files, sort_keys=True), encoding="utf-8")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(objects: ObjectStore, name: str, file: str, files: Files, part: Path) -> None:
    there = objects.download(f"{name}/{file}", part / file)
    if not there or sha256(part / file) != files[file][1]:
        raise CheckpointError(
            f"{objects.url}/{name}/{file} is not what {WHOLE} says: it was changed or removed, or the folder is being "
            "written anew."
        )


def _under(files: Files | None, under: str) -> Files:
    if not under:
        return files or {}
    return {
        name[len(under) + 1 :]: told for name, told in (files or {}).items() if name.startswith(f"{under}/")
    }


def _is_here(folder: Path, files: Files) -> bool:
    """Whether it was noted as these files, and all are there still."""
    try:
        noted = json.loads((folder / WHOLE).read_text(encoding="utf-8"))
        return noted == files and all(
            (folder / name).stat().st_size == told[0] for name, told in files.items()
        )
    except (OSError, ValueError):
        return False


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Among the processes of this machine."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
