"""Ray Data's workers of an evaluation: a question becomes what is kept of its answer. They meet no truth."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from deployments.failures import ours_as_raised
from deployments.ray_data import PoolWorker
from valor_ray import images
from valor_ray.answer import check_question
from valor_ray.asking.kept import Replied
from valor_ray.asking.question import Chain, ask
from valor_ray.config.tree import Config
from valor_ray.errors import ValorError
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.local_rewarder import local_rewarder
from valor_ray.records import Picture, Query
from valor_ray.selecting.select import Select, reward_for

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from valor_ray.config.service import ImageConfig

PictureFile = Callable[[str], Path]  # of a Query.image; blocks while it is fetched; raises ImageError


@dataclass(frozen=True)
class Order:
    """A question, and how it is to be answered."""

    query: Query
    seed: int
    samples: int
    select: Select
    repairs: int = 0


@dataclass(frozen=True)
class Apps:
    """Names of the Serve apps, each with one deployment."""

    policy: str
    detector: str
    depth: str
    vlm: str
    judge: str | None = None  # None: votes choose


class PictureReader:
    """An actor on the machine of who evaluates: the pictures' files, for workers on other machines."""

    def __init__(self, file: PictureFile, limits: ImageConfig) -> None:
        self._file, self._limits = file, limits

    async def read(self, image: str) -> bytes:
        """Raises ImageError."""
        return await asyncio.to_thread(_bytes, self._file, image, self._limits)


class AnswerWorker(PoolWorker):
    """Answers questions: Serve's policy writes, a sandbox of this worker runs, Serve's eyes and gateways look."""

    def __init__(
        self, config: Config, apps: Apps, select: Select, pictures: PictureFile | ActorHandle
    ) -> None:
        """pictures: how they are had here, or the actor that has them."""
        from ray import serve

        from deployments.ports import RemoteDepth, RemoteDetector, RemoteJudge, RemotePolicy, RemoteVqa

        handle = serve.get_deployment_handle
        self._config, self._pictures = config, pictures
        self._sandbox = Sandbox(config.sandbox)
        self._starting, self._started = asyncio.Lock(), False
        weights = reward_for(select, config.reward)
        self._chain = Chain(
            policy=RemotePolicy(handle("policy", apps.policy), patient=True),
            detector=RemoteDetector(handle("detector", apps.detector), patient=True),
            depth=RemoteDepth(handle("depth", apps.depth), patient=True),
            vqa=RemoteVqa(handle(config.vlm_part, apps.vlm), config.vlm_part),
            sandbox=self._sandbox,
            patience_s=config.sandbox.tool_seconds / 2,
            rewarding=None
            if weights is None or apps.judge is None
            else local_rewarder(weights, RemoteJudge(handle("judge", apps.judge)), self._sandbox),
        )

    async def work(self, rows: pa.Table) -> list[bytes]:
        """A pickled Replied for each order. Raises ProgramError where programs cannot be run here at all."""
        await self._up()
        orders = map(pickle.loads, rows["order"].to_pylist())
        return [pickle.dumps(each) for each in await asyncio.gather(*map(self._replied, orders))]

    async def _up(self) -> None:
        async with self._starting:
            if not self._started:
                await self._sandbox.start()
                self._started = True

    async def _replied(self, order: Order) -> Replied:
        began = time.monotonic()
        query = order.query
        try:
            question = check_question(query.question, self._config.server.max_question_chars)
            kept = await ask(
                question,
                await self._picture(query.image),
                self._chain,
                seed=order.seed,
                samples=order.samples,
                select=order.select,
                repairs=order.repairs,
            )
        except ValorError as error:
            return Replied(query.query_id, None, time.monotonic() - began, str(error))
        return Replied(query.query_id, kept, time.monotonic() - began)

    async def _picture(self, image: str) -> Picture:
        limits, had = self._config.images, self._pictures
        if callable(had):
            data = await asyncio.to_thread(_bytes, had, image, limits)
        else:
            with ours_as_raised():
                data = await had.read.remote(image)
        return await images.decode_soon(data, limits)


def _bytes(file: PictureFile, image: str, limits: ImageConfig) -> bytes:
    return images.read(file(image), limits)
