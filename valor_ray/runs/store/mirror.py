"""A run folder in an object store: what is here comes there, so that any machine can go on from it.

    RUN-URL/manifest.json            what the folder holds: each file, and the objects that it is made of
            parts/FILE/NUMBER.TOKEN  those objects: never changed, removed when no manifest names them
            report.html, …           what people open, under its own name; nobody goes on from these
            lock/                    who writes (lease)

The manifest is written last, in one piece: whoever reads it finds a state that the folder really had, as a kill would
have left it. A file that grows (records) gets a part for what is new in it; any other is written anew when it changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.errors import CheckpointError, StorageError
from valor_ray.runs.store.lease import Lease
from valor_ray.runs.store.objects import ObjectStore, Say

MANIFEST = "manifest.json"
_FORMAT = 1
_EVERY_S = 5.0
_LOOKS, _LOOK_S = 20, 0.02  # until the folder holds still for a moment
_FOR_PEOPLE = ("report.html", "report.json", "config.yaml")
# Parts of a growing file under so many bytes are made one when there are so many.
_MOST_SMALL, _SMALL = 16, 4 * 2**20
_AT_ONCE = 16
_PIECE = 64 * 2**20  # bytes that are read before they are sent, so that what is sent is of one moment
# Not mirrored: what lives for a start, and what its owners keep in the store by themselves.
_ANYWHERE = ("lock", "ray_train", "judge_cache", "vlm_cache", "writer_cache")
_AT_THE_TOP = ("work", "samples", "published.json")


@dataclass(frozen=True)
class Part:
    """A range of a file, in an object."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Look:
    """A file of this machine as it was when looked at."""

    size: int
    inode: int
    changed: int  # nanoseconds


class Mirror:
    """One run folder and its place in a store, for as long as a command writes there.

    The command makes one (`place.stored`): `pull`, then `start`, and `push` whenever what is recorded must be there
    before the work goes on; a thread pushes every few seconds besides. `push` waits for the store. Not for two
    processes: a Lease sees to that.
    """

    def __init__(
        self,
        folder: Path,
        objects: ObjectStore,
        lease: Lease | None,
        apart: tuple[str, ...] = (),
        say: Say = lambda line: None,
    ) -> None:
        """lease: None only reads. apart: further names in the folder that are not mirrored. say: what the thread
        could not bring."""
        self.folder, self._say = folder, say
        self._objects, self._lease, self._apart = objects, lease, (*_AT_THE_TOP, *apart)
        self._files: dict[str, list[Part]] = {}  # as the manifest has it
        self._looks: dict[str, Look] = {}  # of what is in `_files`
        self._tails: dict[str, bytes] = {}  # the last bytes of what is in `_files`, of growing files
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self._pushing = threading.Thread(target=self._push_on, name="mirror", daemon=True)

    def pull(self) -> bool:
        """Make the folder what the store has; whether that has anything. What is here beyond it goes.

        Raises StorageError; CheckpointError when the store's objects are not what its manifest says.
        """
        files = read_manifest(self._objects)
        self._forget_others(files)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(lambda name: self._fetch(name, files[name]), files))
        self._files = files
        self._looks = {name: look for name, look in self._look_once().items() if name in files}
        self._tails = {
            name: _tail(self.folder / name, look.size) for name, look in self._looks.items() if _grows(name)
        }
        if self._lease is not None:
            self._objects.remove(set(self._objects.names("parts")) - set(_objects_of(files)))
        return bool(files)

    def start(self) -> None:
        self._pushing.start()

    def push(self) -> None:
        """All that is in the folder now is in the store when this returns. Raises StorageError."""
        with self._turn:
            for again in reversed(range(_LOOKS)):
                try:
                    self._push()
                    return
                except FileNotFoundError as gone:  # since it was looked at
                    if not again:
                        raise StorageError(
                            f"{self.folder} does not hold still: {gone.filename} has gone."
                        ) from gone

    def close(self) -> None:
        """The last push, with what people open. Raises StorageError."""
        self._ended.set()
        if self._pushing.is_alive():
            self._pushing.join()
        self.push()
        for name in _FOR_PEOPLE:
            if (self.folder / name).exists():
                self._objects.upload(self.folder / name, name)

    def _push_on(self) -> None:
        told = ""
        while not self._ended.wait(_EVERY_S):
            try:
                self.push()
            except (
                StorageError
            ) as error:  # raised by the next push that somebody waits for, at the end at the latest
                if str(error) != told:
                    told = str(error)
                    self._say(f"not in the store yet: {told}")

    def _push(self) -> None:
        now = self._looked()
        changed = {name: look for name, look in now.items() if look != self._looks.get(name)}
        gone = set(self._files) - set(now)
        if not changed and not gone:
            return
        assert self._lease is not None
        self._lease.check()
        files = {name: parts for name, parts in self._files.items() if name not in gone}
        tails: dict[str, bytes] = {}
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for name, parts in threads.map(lambda name: self._sent(name, now[name], tails), changed):
                files[name] = parts
        before = set(_objects_of(self._files))
        self._objects.write(MANIFEST, _manifest(files))
        self._files, self._looks = files, now
        self._tails = {name: tail for name, tail in (self._tails | tails).items() if name in files}
        self._objects.remove(before - set(_objects_of(files)))

    def _looked(self) -> dict[str, Look]:
        """The files at one moment: a folder that somebody writes is looked at until two looks are alike."""
        last = self._look_once()
        for _ in range(_LOOKS):
            now = self._look_once()
            if now == last:
                break
            last = now
            time.sleep(_LOOK_S)
        return last

    def _look_once(self) -> dict[str, Look]:
        looks = {}
        for path in self._walk():
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir():
                looks[f"{name}/"] = Look(0, 0, 0)
            elif (look := _look(path)) is not None:
                looks[name] = look
        return looks

    def _walk(self) -> Iterator[Path]:
        """Files, and folders with nothing in them."""
        for root, folders, names in os.walk(self.folder):
            top = Path(root) == self.folder
            left_out = (*_ANYWHERE, *(self._apart if top else ()))
            if not (folders or names or top):
                yield Path(root)
            folders[:] = [name for name in folders if not _passing(name) and name not in left_out]
            for name in names:
                if not _passing(name) and name not in left_out:
                    yield Path(root) / name

    def _sent(self, name: str, look: Look, tails: dict[str, bytes]) -> tuple[str, list[Part]]:
        """The parts that a file is made of now, those that are new written. Of a file that grows up to `look`."""
        path, parts = self.folder / name, self._files.get(name, [])
        if name.endswith("/"):
            return name, []
        start = 0
        if _grows(name) and parts and self._goes_on(name, look):
            small = 0
            while small < len(parts) and parts[-1 - small].size < _SMALL:
                small += 1
            if small >= _MOST_SMALL:
                parts = parts[:-small]
            start = sum(part.size for part in parts)
        else:
            parts = []
        if not _grows(name):
            return name, [self._written(name, path, 0, look.size)]
        ends = [*range(start + _PIECE, look.size, _PIECE), look.size]
        new = [
            self._written(name, path, begin, end) for begin, end in zip([start, *ends], ends, strict=False)
        ]
        tails[name] = _tail(path, look.size)
        return name, [*parts, *new]

    def _goes_on(self, name: str, look: Look) -> bool:
        """Whether a growing file still begins with what the store has of it."""
        before = self._looks.get(name)
        if before is None or before.inode != look.inode or look.size < before.size:
            return False
        return _tail(self.folder / name, before.size) == self._tails.get(name)

    def _written(self, name: str, path: Path, start: int, end: int) -> Part:
        target = f"parts/{name}/{start:012d}.{uuid.uuid4().hex[:12]}"
        if end - start > _PIECE:  # a large file that does not grow: written once, and long ago
            digest = _sha256(path, 0, end)
            self._objects.upload(path, target)
            return Part(target, end, digest)
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(end - start)
        self._objects.write(target, content)
        return Part(target, len(content), hashlib.sha256(content).hexdigest())

    def _forget_others(self, files: dict[str, list[Part]]) -> None:
        for path in list(self._walk()):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in files:
                path.unlink(missing_ok=True)

    def _fetch(self, name: str, parts: list[Part]) -> None:
        if name.endswith("/"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        else:
            fetch_file(self._objects, self.folder / name, parts)


def fetch_file(objects: ObjectStore, path: Path, parts: list[Part]) -> None:
    """A file as the manifest has it; what is there already and right is not fetched again.

    Raises CheckpointError, StorageError.
    """
    size, held = sum(part.size for part in parts), _look(path)
    if held is not None and held.size == size and _holds(path, parts):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part_file = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        one = len(parts) == 1
        found = objects.download(parts[0].name, part_file) if one else _joined(objects, parts, part_file)
        if not found or not _holds(part_file, parts):
            raise CheckpointError(
                f"{objects.url}: {path.name} is not what {MANIFEST} says: somebody has removed or changed an object "
                f"under parts/. Put it back, or give another folder."
            )
        part_file.replace(path)
    except OSError as error:
        raise StorageError(f"Cannot write {path} ({error.strerror or error}). Make room there.") from error
    finally:
        part_file.unlink(missing_ok=True)


def read_manifest(objects: ObjectStore) -> dict[str, list[Part]]:
    """file -> its parts in order; empty where there is no run yet. Raises CheckpointError, StorageError."""
    held = objects.read(MANIFEST)
    if held is None:
        return {}
    try:
        record = json.loads(held)
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']}")
        return {name: [Part(*part) for part in parts] for name, parts in record["files"].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{objects.url}/{MANIFEST} cannot be read ({error!r}): another version of valor_ray wrote it, or something "
            "else. Use that version, or give another folder."
        ) from error


def _manifest(files: dict[str, list[Part]]) -> bytes:
    record: dict[str, Any] = {
        "format": _FORMAT,
        "files": {
            name: [[part.name, part.size, part.sha256] for part in parts]
            for name, parts in sorted(files.items())
        },
    }
    return json.dumps(record).encode()


def _joined(objects: ObjectStore, parts: list[Part], path: Path) -> bool:
    with path.open("wb") as file:
        for part in parts:
            content = objects.read(part.name)
            if content is None:
                return False
            file.write(content)
    return True


def _objects_of(files: dict[str, list[Part]]) -> Iterator[str]:
    for parts in files.values():
        for part in parts:
            yield part.name


def _holds(path: Path, parts: list[Part]) -> bool:
    start = 0
    for part in parts:
        if _sha256(path, start, part.size) != part.sha256:
            return False
        start += part.size
    return True


def _sha256(path: Path, start: int, size: int) -> str:
    digest, left = hashlib.sha256(), size
    with path.open("rb") as file:
        file.seek(start)
        while left and (piece := file.read(min(left, 2**20))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def _tail(path: Path, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, end - 4096))
        return file.read(min(end, 4096))


def _look(path: Path) -> Look | None:
    with suppress(OSError):
        status = path.stat()
        return Look(status.st_size, status.st_ino, status.st_mtime_ns)
    return None


def _grows(name: str) -> bool:
    return name.endswith(".jsonl") or ".tfevents." in name


def _passing(name: str) -> bool:
    """What is there only while it is written."""
    return name.endswith(".part")
