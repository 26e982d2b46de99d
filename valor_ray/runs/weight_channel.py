"""How new weights reach the replicas that follow a run: a port, and its first implementation, by files.

A publication is not a checkpoint (law 13): it lives until the next few have followed it, and nothing goes on from it.
runs/publications.py says who is who in it.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from valor_ray.errors import CheckpointError
from valor_ray.runs.publications import (
    Carried,
    Checksums,
    Publication,
    publication_from,
    publication_record,
    version_name,
)
from valor_ray.runs.record_file import replace_text
from valor_ray.runs.store import folders
from valor_ray.runs.store.objects import ObjectStore
from valor_ray.runs.store.place import objects_of

WEIGHTS = "weights"  # in the run folder
_PUBLISHED = "published.json"
_NOTHING = "null"  # in it
_FOLDER = re.compile(r"step-(\d{6,})(?:-(\d+))?")
Probe = list[tuple[list[int], list[int]]]  # (prompt, completion) token ids


@dataclass(frozen=True)
class Published:
    """Who carries a version now, and what its replicas make of the probe."""

    replicas: int  # that carry the version now
    logprobs: list[list[list[float]]]  # of each replica, for each probe, for each of its tokens
    received: dict[str, list[Checksums]] = field(
        default_factory=dict
    )  # of a transfer: replica -> by its workers


def published_by(answers: Sequence[Carried]) -> Published:
    """What the answers of all replicas come to."""
    return Published(
        len(answers),
        [answer.logprobs for answer in answers],
        {answer.replica: answer.received for answer in answers},
    )


class Weights(Protocol):
    """The learner's weights of one version. Handed to a channel by every learner process."""

    def save(self, folder: Path) -> None:
        """Write them in Hugging Face format and the engine's precision, with the tokenizer; adapters alone (peft's
        format) where those are trained.

        Collective: every learner process calls it; the first one writes.
        """
        ...


class SentWeights(Weights, Protocol):
    """Weights that can also be sent from memory."""

    def parts(self) -> Any:
        """A vLLM WeightSource: names, dtypes, shapes, and the tensors one after another, in the engine's precision.

        Iterating is collective, and gives the weights of its moment.
        """
        ...


class WeightChannel(Protocol):
    """Brings each version of the weights to every policy replica.

    Called by every learner process, before the first step and after each update.
    Blocks until all live replicas carry the version: samples of a later turn are by these weights or newer ones.
    """

    def publish(self, step: int, weights: Weights, probe: Probe) -> Published | None:
        """Collective. None in all processes but the first. Raises PolicyError, CheckpointError."""
        ...


def to_nobody(step: int, folder: Path, probe: Probe) -> Published:
    """What a FileChannel announces where no replica follows it, as when recorded rollouts are replayed."""
    return Published(0, [])


class PublishedFile:
    """RUN/published.json: what is published last; null: nothing, or all is withdrawn.

    Only the process that publishes writes; all others follow it by `changed` and `read`, which wait for the disk.
    """

    def __init__(self, run: Path) -> None:
        """run: its folder; of a run at a URL the object there is meant, which nobody follows but its own Ray."""
        self.path = run / _PUBLISHED
        self._objects = objects_of(run)
        self._seen: tuple[int, ...] | None = None
        self._writing = threading.Lock()  # what another thread has half written is no news

    def changed(self) -> bool:
        """Whether there is something else than at the last `read` or `write`. A file that has gone says nothing."""
        if self._objects is not None:
            return False
        with self._writing:
            stamp = self._stamp()
            return stamp is not None and stamp != self._seen

    def read(self) -> Publication | None:
        """Raises CheckpointError when the file does not hold a publication."""
        try:
            text = self._text()
            if text is None:
                return None
            record = json.loads(text)
            return None if record is None else publication_from(record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.path} does not say what is published: {error!r}. Remove it, then publish again."
            ) from error

    def write(self, current: Publication | None) -> None:
        """Raises StorageError."""
        text = _NOTHING if current is None else json.dumps(publication_record(current))
        if self._objects is not None:
            self._objects.write(_PUBLISHED, text.encode())
            return
        with self._writing:
            replace_text(self.path, text)
            self._seen = self._stamp()

    def withdraw(self) -> None:
        """Whoever follows goes back to the weights that its settings name. Raises StorageError."""
        if self._text() not in (None, _NOTHING):
            self.write(None)

    def _text(self) -> str | None:
        if self._objects is not None:
            held = self._objects.read(_PUBLISHED)
            return None if held is None else held.decode()
        self._seen = self._stamp()
        return None if self._seen is None else self.path.read_text(encoding="utf-8")

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def publish_by_file(run: Path, version: str, folder: Path) -> int:
    """Publish without Ray: services that follow the run take it up from RUN/published.json, and nobody waits for them.

    Returns 0, the replicas that are known to carry it. Raises CheckpointError, StorageError.
    """
    file = PublishedFile(run)
    before = file.read()
    file.write(Publication(1 if before is None else before.number + 1, version, str(folder.resolve())))
    return 0


class FileChannel:
    """A folder a publication, whole or not at all, whose name is announced to the replicas; the newest few stay.

    A version that a learner publishes once more, after it began again, gets a folder of its own (step-000012-2): who
    reads in the first one is not disturbed. Called as WeightChannel is; the first process writes and announces, the
    others only take part in the gathering. Blocks on the disk, then for as long as `announce` does. Replicas must see
    the folder under the same path, or the same store.
    """

    def __init__(
        self,
        folder: Path,
        keep: int,
        announce: Callable[[int, Path, Probe], Published],
        first: bool,
        objects: ObjectStore | None = None,
    ) -> None:
        """keep: versions that stay, this one included. announce(step, folder of the version, probe) returns when every
        replica carries them; only the first process calls it. objects: the run's store, which gets each folder too."""
        self._folder, self._keep, self._announce, self._first = folder, keep, announce, first
        self._objects = objects

    def publish(self, step: int, weights: Weights, probe: Probe) -> Published | None:
        part = self._folder / f"{version_name(step)}.part"
        if self._first:
            shutil.rmtree(part, ignore_errors=True)
        weights.save(part)
        if not self._first:
            return None
        there = self._there()
        again = [name for name in there if _made_of(name)[0] == step]
        times = max((_made_of(name)[1] for name in again), default=0) + 1
        name = version_name(step) if times == 1 else f"{version_name(step)}-{times}"
        part.rename(self._folder / name)
        if self._objects is not None:
            folders.bring(self._objects, f"{WEIGHTS}/{name}", self._folder / name)
            folders.note_here(self._folder / name, folders.commit(self._objects, f"{WEIGHTS}/{name}"))
        published = self._announce(step, self._folder / name, probe)
        self._forget(step, there)
        return published

    def _there(self) -> list[str]:
        """The folders of versions before this one, where replicas look for them."""
        names = [path.name for path in self._folder.iterdir()]
        if self._objects is not None:
            names += folders.whole_names(self._objects, WEIGHTS)
        return sorted({name for name in names if _FOLDER.fullmatch(name)}, key=_made_of)

    def _forget(self, step: int, there: list[str]) -> None:
        """Keep the newest few; those after `step` are of a learner that died and is made again from a checkpoint."""
        earlier = [name for name in there if _made_of(name)[0] < step]
        kept = earlier[len(earlier) - min(self._keep - 1, len(earlier)) :]
        for name in set(there) - set(kept):
            shutil.rmtree(self._folder / name, ignore_errors=True)
            if self._objects is not None:
                folders.remove(self._objects, f"{WEIGHTS}/{name}")


def fetch_published(run: Path, folder: Path) -> None:
    """Published weights on this machine, where the run is at a URL; what this machine has of earlier ones goes.

    Called by a replica before it loads them. Raises CheckpointError, StorageError.
    """
    objects = objects_of(run)
    if objects is None:
        return
    name = folder.relative_to(run)
    if name.parts[0] != WEIGHTS:  # of a checkpoint that is evaluated
        folders.fetched(
            objects, str(Path(*name.parts[:2])), run / Path(*name.parts[:2]), "/".join(name.parts[2:])
        )
        return
    folders.fetched(objects, str(name), folder)
    for other in folder.parent.glob("step-*"):
        if _FOLDER.fullmatch(other.name) and _made_of(other.name)[0] < _made_of(folder.name)[0] - 1:
            shutil.rmtree(other, ignore_errors=True)


def newest_weights(run: Path) -> Path | None:
    """The newest that a run has published by files; None where there are none but those that it has started from."""
    names = [path.name for path in (run / WEIGHTS).glob("step-*") if _FOLDER.fullmatch(path.name)]
    newest = max(names, key=_made_of, default=None)
    return None if newest is None or _made_of(newest)[0] == 0 else run / WEIGHTS / newest


def is_published(run: Path, folder: Path) -> bool:
    """Whether published weights are there still, on the disk or in the run's store. Raises StorageError."""
    objects = objects_of(run)
    if objects is None:
        return folder.is_dir()
    return folders.whole(objects, str(folder.relative_to(run))) is not None


def _made_of(name: str) -> tuple[int, int]:
    """Of a folder's name: step, and which publication of it."""
    match = _FOLDER.fullmatch(name)
    assert match is not None
    return int(match[1]), int(match[2] or 1)
