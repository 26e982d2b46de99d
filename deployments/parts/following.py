"""Replicas that follow a training run: what it has published is loaded before they take work, and all that comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from deployments.actors.publications import BEAT_S, open_publications
from valor_ray.errors import CheckpointError, ConfigError, ServiceError, ValorError
from valor_ray.runs.folder import GROUNDING, check_kind
from valor_ray.runs.publications import NOTHING, Carried, Checksums, Publication
from valor_ray.runs.weight_channel import PublishedFile, fetch_published

_HOLD_S = 60.0  # of one question for newer weights
_VISIBLE_S, _LOOK_S = 30.0, 0.5  # a shared filesystem shows another node's new folder late
_TRIES = 3  # of reading a folder that is there
_STATUS_S = 1.0  # the actor answers at once, or starts again


@dataclass(frozen=True)
class Loaded:
    """What a replica says of weights that it has loaded, as in Carried."""

    logprobs: list[list[float]] = field(default_factory=list)
    received: list[Checksums] = field(default_factory=list)


Load = Callable[[Publication], Awaitable[Loaded]]


def check_followed(run: str, option: str) -> str:
    """What following a run begins with, in a line for the user; of a run that is yet to come, too.

    option: that names the run's folder. Raises ConfigError when it is the folder of another command, or what it has
    published cannot be read.
    """
    folder = Path(run)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{option} {folder} is a file. Give the run folder of `{GROUNDING.command}`.")
    check_kind(folder, GROUNDING, option)
    try:
        published = PublishedFile(folder).read()
    except CheckpointError as error:
        raise ConfigError(f"{option} {folder}: {error}") from error
    if published is None:
        return f"following {folder}: nothing is published there yet, the start weights serve until then"
    if not Path(published.folder).is_dir():
        return f"following {folder}: {published.version} has gone from it, the start weights serve until the next"
    return f"following {folder}: {published.version} is published"


class Follower:
    """Keeps a replica's weights those that its training run has published.

    A deployment waits for `catch_up` before it takes work, then keeps `follow` running and ends when `check` fails. It
    waits for the publications' actor to have something newer, loads it, and answers with the scores of its probe.
    """

    def __init__(
        self,
        run: str,
        replica: str,
        load: Load,
        healthy: Callable[[], Awaitable[None]] | None = None,
        start: str | None = None,
    ) -> None:
        """run: the run's folder. load: makes published weights the replica's; raises a ValorError when they are broken
        or do not fit. healthy: raises when a failed load has left the replica of no more use, which then refuses
        nothing; None: a failed load changes nothing. start: the model that serves while nothing is published, loaded in
        the same way; None: the replica has it already."""
        self._run, self._replica, self._load, self._healthy = run, replica, load, healthy
        self._start = None if start is None else Publication(NOTHING, start, start)
        self._published = open_publications(run)
        self._number = NOTHING  # of the publication that the replica carries
        self._following: asyncio.Task[None] | None = None

    async def catch_up(self) -> None:
        """Load what is published now, or the start model. Raises what `load` does: the replica does not start."""
        async with self._beating():
            news = await self._newer(0.0) or self._start
            while news is not None:
                await self._take(news)
                news = await self._newer(0.0)

    def follow(self) -> None:
        """From now on load whatever is published, beside the replica's work."""
        self._following = asyncio.create_task(self._follow())

    def check(self) -> None:
        """Raises ServiceError when `follow` has ended."""
        if self._following is not None and self._following.done():
            raise ServiceError(f"The replica no longer follows {self._run}: {self._following.exception()!r}.")

    async def status(self) -> dict[str, Any]:
        """{"published": PublicationsActor.status}; None in its place while the actor does not answer."""
        with suppress(TimeoutError, ray.exceptions.RayError):
            async with asyncio.timeout(_STATUS_S):
                return {"published": await self._published.status.remote()}
        return {"published": None}

    async def _follow(self) -> None:
        async with self._beating():
            while True:
                if (news := await self._newer(_HOLD_S)) is not None:
                    await self._take_or_refuse(news)

    async def _newer(self, hold_s: float) -> Publication | None:
        while True:
            try:
                return await self._published.wait_newer.remote(self._replica, self._number, hold_s)
            except (
                ray.exceptions.ActorDiedError
            ):  # ended by who published: the next one goes on from the file
                await asyncio.sleep(_LOOK_S)
                self._published = open_publications(self._run)

    async def _take(self, news: Publication) -> None:
        if news.number == NOTHING:
            if self._start is not None:
                await self._load(self._start)
        else:
            loaded = await self._loaded(news)
            answer = Carried(self._replica, news.version, loaded.logprobs, loaded.received)
            await self._published.carried.remote(news.number, answer)
        self._number = news.number

    async def _loaded(self, news: Publication) -> Loaded:
        """A shared filesystem may show a folder late, or an old handle of one that is there again (ESTALE): looked at
        anew. Raises CheckpointError when it goes on."""
        for again in range(_TRIES):
            try:
                if news.transfer is None and news.number != NOTHING:
                    await asyncio.to_thread(fetch_published, Path(self._run), Path(news.folder))
                    await _visible(Path(news.folder))
                return await self._load(news)
            except OSError as error:
                if again + 1 == _TRIES:
                    raise CheckpointError(
                        f"{news.folder} cannot be read ({error.strerror or error}). Is it still there, and does this "
                        "machine see it under this path?"
                    ) from error
            await asyncio.sleep(_LOOK_S)
        raise AssertionError

    async def _take_or_refuse(self, news: Publication) -> None:
        try:
            await self._take(news)
        except ValorError as error:
            if self._healthy is not None:
                await self._healthy()  # a useless engine refuses nothing: its successor takes the weights
                self._number = (
                    news.number
                )  # whatever was loaded of it: what is current instead is loaded again
            await self._published.refused.remote(self._replica, news.number, str(error))

    @asynccontextmanager
    async def _beating(self) -> AsyncIterator[None]:
        """The replica counts as alive for the block, however long loading takes."""
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            with suppress(ray.exceptions.RayError):  # the actor starts again
                await self._published.beat.remote(self._replica, self._number)
            await asyncio.sleep(BEAT_S)


async def _visible(folder: Path) -> None:
    """Returns when the folder is there, or has not come."""
    end = time.monotonic() + _VISIBLE_S
    while not _is_folder(folder) and time.monotonic() < end:
        await asyncio.sleep(_LOOK_S)


def _is_folder(path: Path) -> bool:
    """Path.is_dir lets ESTALE pass."""
    try:
        return path.is_dir()
    except OSError:
        return False
