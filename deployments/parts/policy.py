"""The policy: one vLLM engine per replica, which can follow the weights that a training run publishes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray import serve

from deployments.actors.publications import BEAT_S, open_publications
from valor_ray.config.models import PolicyConfig
from valor_ray.errors import CheckpointError, PolicyError, ServiceError
from valor_ray.models.vllm.policy import VllmPolicy
from valor_ray.records import Reply, Sampling
from valor_ray.runs.publications import Carried, Publication

_HOLD_S = 60.0  # of one question for newer weights
_VISIBLE_S, _LOOK_S = 30.0, 0.5  # a shared filesystem shows another node's new folder late


@serve.deployment(name="policy")
class PolicyDeployment:
    """A replica: samples replies by one engine, and says by which version of the weights.

    The front door calls `generate`, rollout workers `sample`, an evaluation `generate`. The engine batches concurrent
    calls by itself, so there is no serve.batch here; calls that come while new weights are loaded wait for them.
    """

    async def __init__(self, config: PolicyConfig, run: str | None = None) -> None:  # type: ignore[misc]  # Serve awaits it
        """run: folder of a training run. Its published weights are loaded before the replica takes work, and followed.

        Raises PolicyError, CheckpointError.
        """
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._policy = VllmPolicy(config)
        self._following: asyncio.Task[None] | None = None
        await self._policy.start()
        if run is not None:
            follower = Follower(self._policy, self._replica, run)
            await follower.catch_up()
            self._following = asyncio.create_task(follower.follow())

    async def generate(self, question: str, n: int, seed: int | None) -> list[Reply]:
        """n replies to one question. Raises PolicyError."""
        return await self._policy.generate(question, n=n, seed=seed)

    async def sample(
        self, questions: Sequence[str], n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        """n replies to each question, the same whenever they are asked for (ports.Sampler).

        Raises PolicyError; ServiceError when the engine is of no more use, so that the call goes to another replica.
        """
        try:
            return await self._policy.sample(questions, n=n, seed=seed, sampling=sampling)
        except PolicyError as error:
            try:
                await self._policy.healthy()
            except PolicyError as useless:
                raise ServiceError(f"{useless} The replica is being replaced.") from error
            raise

    async def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities of completion tokens, as VllmPolicy.score. Raises PolicyError."""
        return await self._policy.score(sequences)

    async def check_health(self) -> None:
        """Called by Serve, which replaces the replica when its engine is of no more use. Raises PolicyError."""
        await self._policy.healthy()
        if self._following is not None and self._following.done():
            raise PolicyError(f"The replica no longer follows the weights: {self._following.exception()!r}.")

    async def status(self) -> dict[str, Any]:
        return {"version": self._policy.version, "replica": self._replica}

    def __del__(self) -> None:
        self._policy.close()


class Follower:
    """Keeps a replica's weights those that its training run has published.

    The policy deployment waits for `catch_up` before it takes work, then keeps `follow` running. That waits for the
    publications' actor to have something newer, loads it, and answers with the scores of its probe.
    """

    def __init__(self, policy: VllmPolicy, replica: str, run: str) -> None:
        self._policy, self._replica = policy, replica
        self._published = open_publications(run)
        self._number = 0  # of the publication that the policy carries

    async def catch_up(self) -> None:
        """Load what is published now. Raises CheckpointError."""
        async with self._beating():
            if (news := await self._published.wait_newer.remote(self._replica, 0, 0.0)) is not None:
                await self._take(news)

    async def follow(self) -> None:
        """Load whatever is published, for ever. Raises PolicyError when the engine is of no more use."""
        async with self._beating():
            while True:
                news = await self._published.wait_newer.remote(self._replica, self._number, _HOLD_S)
                if news is not None:
                    await self._take_or_refuse(news)

    async def _take(self, news: Publication) -> None:
        end = time.monotonic() + _VISIBLE_S
        while not Path(news.folder).is_dir() and time.monotonic() < end:
            await asyncio.sleep(_LOOK_S)
        await self._policy.load_weights(Path(news.folder), news.version)
        scores = await self._policy.score(news.probe)
        await self._published.carried.remote(news.number, Carried(self._replica, news.version, scores))
        self._number = news.number

    async def _take_or_refuse(self, news: Publication) -> None:
        try:
            await self._take(news)
        except (CheckpointError, PolicyError) as error:
            await self._policy.healthy()  # a useless engine refuses nothing: its successor takes the weights
            self._number = news.number  # whatever was loaded of it: what is current instead is loaded again
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
