"""How new weights reach the replicas that follow a run: a port, and its first implementation, by files.

A publication is not a checkpoint (law 13): it lives until the next few have followed it, and nothing goes on from it.
runs/publications.py says who is who in it.
"""

from __future__ import annotations

import json
import shutil
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
        """Write them in Hugging Face format and the engine's precision, with the tokenizer.

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
        self.path = run / "published.json"
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """Whether there is something else than at the last `read` or `write`. A file that has gone says nothing."""
        stamp = self._stamp()
        return stamp is not None and stamp != self._seen

    def read(self) -> Publication | None:
        """Raises CheckpointError when the file does not hold a publication."""
        self._seen = self._stamp()
        if self._seen is None:
            return None
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
            return None if record is None else publication_from(record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.path} does not say what is published: {error!r}. Remove it, then publish again."
            ) from error

    def write(self, current: Publication | None) -> None:
        """Raises StorageError."""
        replace_text(self.path, json.dumps(None if current is None else publication_record(current)))
        self._seen = self._stamp()

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
    """A folder a version, whole or not at all, whose name is announced to the replicas; the newest few stay.

    Called as WeightChannel is; the first process writes and announces, the others only take part in the gathering.
    Blocks on the disk, then for as long as `announce` does. Replicas must see the folder under the same path.
    """

    def __init__(
        self, folder: Path, keep: int, announce: Callable[[int, Path, Probe], Published], first: bool
    ) -> None:
        """keep: versions that stay, this one included. announce(step, folder of the version, probe) returns when every
        replica carries them; only the first process calls it."""
        self._folder, self._keep, self._announce, self._first = folder, keep, announce, first

    def publish(self, step: int, weights: Weights, probe: Probe) -> Published | None:
        version = self._folder / version_name(step)
        part = version.with_name(version.name + ".part")
        if self._first:
            shutil.rmtree(part, ignore_errors=True)
        weights.save(part)
        if not self._first:
            return None
        shutil.rmtree(version, ignore_errors=True)
        part.rename(version)
        published = self._announce(step, version, probe)
        self._forget(step)
        return published

    def _forget(self, step: int) -> None:
        """Keep the newest few; those after `step` are of a learner that died and is made again from a checkpoint."""
        folders = sorted(self._folder.iterdir())
        later = [folder for folder in folders if folder.name > version_name(step)]
        earlier = folders[: len(folders) - len(later)]
        for old in [*later, *earlier[: -self._keep]]:
            shutil.rmtree(old, ignore_errors=True)
