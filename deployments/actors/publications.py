"""The weights that a training run has published, in a named actor: every replica that follows the run asks it.

Who is who
    weight_channel.FileChannel   the learner's side: writes a folder of weights and has it announced
    publish, publish_detector    what announces it on Ray: a call of the actor that returns when all replicas carry it
    PublicationsActor (here)     keeps what is current, in memory and in RUN/published.json, and wakes who waits for it
    runs.publications            its pure state: Publication (what is current), Carried (a replica's answer to one)
    parts.following.Follower     the replica's side: waits for something newer, loads it, answers with its scores

Training and service may run on two Rays that see the same run folder. Each then has its actor: the one that publishes
writes published.json, the other looks at it every second and writes nothing, also when its replicas refuse the weights.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from deployments.actors.named import NAMESPACE, open_named
from deployments.failures import ours_as_raised
from valor_ray.errors import CheckpointError, PolicyError, ServiceError
from valor_ray.models.checkpoint import folder_tensors
from valor_ray.runs.publications import Carried, Publication, Publications, Sequences, Transfer
from valor_ray.runs.weight_channel import PublishedFile, is_published

BEAT_S = 2.0  # a replica says so often that it lives
_GONE_S = 15.0  # several beats: a busy machine delays them
_LOOK_S = 0.5  # how soon a publication notices that a replica is gone
_FILE_S = 1.0  # how soon it is noticed that another process has published
_KNOWN_S = 2 * BEAT_S  # after so long, an actor that starts anew has heard of every living replica
_AT_ONCE = 10_000  # calls, each a coroutine that may wait long
_LATE_S = 60.0  # for an actor that starts again in the middle of a publication


class PublicationsActor:
    """The actor. What is current is also in a file of the run folder, so that a restarted actor knows it.

    The learner's first process calls `publish`, which waits until every living replica carries the weights; Followers
    call the rest, of which `wait_newer` waits for a publication.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._file = PublishedFile(Path(run))
        self._trouble = ""  # with the file
        self._state = Publications(_GONE_S, self._before())
        self._own: set[int] = set()  # publications of this actor: it alone writes their withdrawal
        self._born = time.monotonic()
        self._changed = asyncio.Condition()
        self._publishing = asyncio.Lock()

    def _before(self) -> Publication | None:
        """The publication before a restart; None when its weights have gone: the learner publishes anew."""
        publication = self._read()
        if publication is None or not is_published(Path(self._run), Path(publication.folder)):
            return None
        return publication

    def _read(self) -> Publication | None:
        try:
            publication, self._trouble = self._file.read(), ""
        except CheckpointError as error:
            publication, self._trouble = None, str(error)
        return publication

    def _check(self, folder: Path) -> None:
        """A folder that this machine sees is looked into. Raises CheckpointError."""
        if folder.is_dir() or not is_published(Path(self._run), folder):
            folder_tensors(folder)

    async def _look(self) -> None:
        """Make current what another process has published, if any. A file that says nothing changes nothing."""
        if not self._file.changed():
            return
        published = self._read()
        if not self._trouble:
            self._state.adopt(published)
            await self._tell()

    async def publish(
        self,
        version: str,
        folder: str,
        probe: Sequences,
        timeout_s: float,
        needed: int = 1,
        transfer: Transfer | None = None,
    ) -> list[Carried]:
        """Make weights current. Returns when all live replicas, at least `needed`, carry them: their answers. With a
        `transfer` those are its members; RUN/published.json goes on naming the last ones in a folder.

        Raises CheckpointError when the folder is broken or a replica refuses it, which changes nothing; PolicyError
        when some do not carry them after timeout_s.
        """
        if transfer is None:
            await asyncio.to_thread(self._check, Path(folder))
        async with self._publishing:
            await self._look()
            number = self._state.publish(version, folder, probe, transfer).number
            self._own.add(number)
            if transfer is None:
                await asyncio.to_thread(self._file.write, self._state.snapshot)
            await self._tell()
            end = time.monotonic() + timeout_s
            while True:
                now = time.monotonic()
                # before all else: when it was refused, another publication is current
                if reason := self._state.refusal(number):
                    raise CheckpointError(f"{version} was refused by {reason}")
                if self._state.complete(now) or (needed == 0 and self._nobody(now)):
                    return self._state.answers(now)
                if now > end:
                    behind = ", ".join(self._state.behind(now)) or "none lives"
                    raise PolicyError(
                        f"Not every replica that follows {self._run} carries {version} after {timeout_s:.0f} s "
                        f"({behind}). Logs: /tmp/ray/session_latest/logs/serve."
                    )
                await self._change(_LOOK_S)

    def _nobody(self, now: float) -> bool:
        """Whether no replica follows: one that lives calls within a beat, also an actor that has just started."""
        return not self._state.live(now) and now - self._born > _KNOWN_S

    async def wait_newer(self, replica: str, number: int, hold_s: float) -> Publication | None:
        """What a replica that carries publication `number` (0: none) has to load; waits for it up to hold_s seconds."""
        end = time.monotonic() + hold_s
        self._state.called(replica, number, time.monotonic())
        await self._look()
        while (news := self._state.newer(number, replica)) is None and (left := end - time.monotonic()) > 0:
            await self._change(min(left, _FILE_S))
            await self._look()
        return news

    async def beat(self, replica: str, number: int) -> None:
        """The replica lives."""
        self._state.called(replica, number, time.monotonic())

    async def carried(self, number: int, answer: Carried) -> None:
        """The replica carries publication `number` and has scored its probe."""
        self._state.carried(number, answer, time.monotonic())
        await self._tell()

    async def refused(self, replica: str, number: int, reason: str) -> None:
        """The replica cannot carry publication `number`, which is then withdrawn."""
        self._state.refused(replica, number, reason)
        if number in self._own:
            await asyncio.to_thread(self._file.write, self._state.snapshot)
        await self._tell()

    async def withdraw(self, replica: str, version: str, reason: str) -> None:
        """The learner has found that the replica carries something else than it sent: all load the last folder."""
        self._state.withdraw(replica, version, reason)
        await self._tell()

    async def status(self) -> dict[str, Any]:
        """{"run", "version", "live", "behind", "withdrawn", "trouble"}: the current version or None, replicas; the
        version that was refused last, and why, or None; what is wrong with the file, or ""."""
        await self._look()
        now = time.monotonic()
        current, withdrawn = self._state.current, self._state.withdrawn
        return {
            "run": self._run,
            "version": None if current is None else current.version,
            "live": self._state.live(now),
            "behind": self._state.behind(now),
            "withdrawn": None
            if withdrawn is None
            else dict(zip(("version", "reason"), withdrawn, strict=True)),
            "trouble": self._trouble,
        }

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _change(self, timeout_s: float) -> None:
        """Wait for something to change, up to timeout_s seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait()


def publications_name(run: str) -> str:
    """Name of the actor of the training run in a folder."""
    return f"valor-published-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def open_publications(run: str) -> ActorHandle:
    """The actor of a training run's folder, made by whoever asks first. It stays until `close_publications`."""
    return open_named(PublicationsActor, publications_name(run), run, at_once=_AT_ONCE)


def close_publications(run: str) -> None:
    """End the actor of a run, on a cluster that goes on."""
    with suppress(ValueError):  # never opened
        ray.kill(ray.get_actor(publications_name(run), NAMESPACE))


def publish(
    run: str,
    version: str,
    folder: Path,
    probe: Sequence[tuple[Sequence[int], Sequence[int]]],
    timeout_s: float,
) -> list[Carried]:
    """Publish weights to all policy replicas that follow the run; returns when they carry them.

    probe: (prompt, completion) token ids that each replica scores with the new weights. Raises CheckpointError,
    PolicyError as `PublicationsActor.publish`, ServiceError when Ray fails.
    """
    sequences = tuple((tuple(prompt), tuple(tokens)) for prompt, tokens in probe)
    return _published(run, version, folder, sequences, timeout_s, 1)


def publish_detector(run: str, version: str, folder: Path, timeout_s: float) -> list[Carried]:
    """Publish a detector: written to RUN/published.json, and carried by every living replica that follows the run on
    this Ray when it returns; at once, with [], where none does. A service on another Ray takes it up by the file.

    Called by the training run, as what a FileChannel announces. Raises CheckpointError when the folder is broken or a
    replica refuses it, which changes nothing; ServiceError when some do not carry it after timeout_s, or Ray fails.
    """
    try:
        return _published(run, version, folder, (), timeout_s, 0)
    except PolicyError as error:
        raise ServiceError(str(error)) from error


def following(run: str) -> tuple[str, ...]:
    """Replicas that follow the run and live now. Raises ServiceError when Ray fails."""
    try:
        return tuple(ray.get(open_publications(run).status.remote(), timeout=_LATE_S)["live"])
    except ray.exceptions.RayError as error:
        raise ServiceError(
            f"Cannot tell which replicas follow {run}: {type(error).__name__}: {error}"
        ) from error


def publish_live(
    run: str,
    version: str,
    transfer: Transfer,
    probe: Sequence[tuple[Sequence[int], Sequence[int]]],
    timeout_s: float,
) -> Callable[[], list[Carried]]:
    """Wake the members of a transfer, at once; what is returned waits until they carry it, and raises as `publish`."""
    sequences = tuple((tuple(prompt), tuple(tokens)) for prompt, tokens in probe)
    call = open_publications(run).publish.remote(version, "", sequences, timeout_s, 1, transfer)
    return lambda: _answers(call, version, timeout_s)


def withdraw_live(run: str, replica: str, version: str, reason: str) -> None:
    """No replica goes on by a version that `replica` has received wrongly: all load the last folder. Raises
    ServiceError when Ray fails."""
    try:
        ray.get(open_publications(run).withdraw.remote(replica, version, reason), timeout=_LATE_S)
    except ray.exceptions.RayError as error:
        raise ServiceError(f"{version} could not be withdrawn: {type(error).__name__}: {error}") from error


def _published(
    run: str, version: str, folder: Path, probe: Sequences, timeout_s: float, needed: int
) -> list[Carried]:
    call = open_publications(run).publish.remote(version, str(folder.resolve()), probe, timeout_s, needed)
    return _answers(call, version, timeout_s)


def _answers(call: Any, version: str, timeout_s: float) -> list[Carried]:
    try:
        with ours_as_raised():
            answers: list[Carried] = ray.get(call, timeout=timeout_s + _LATE_S)
            return answers
    except ray.exceptions.RayTaskError:  # a fault of the actor's code, whose traceback is wanted
        raise
    except ray.exceptions.RayError as error:
        raise ServiceError(
            f"{version} could not be published: {type(error).__name__}: {error} The same command goes on from the last "
            "checkpoint."
        ) from error
