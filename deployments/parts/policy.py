"""The policy: one vLLM engine per replica, which can follow the weights that a training run publishes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from ray import serve

from deployments.failures import end_replica, log_place
from deployments.metrics.engine import engine_metrics
from deployments.parts.following import Follower, Loaded
from valor_ray.config.models import PolicyConfig
from valor_ray.errors import PolicyError
from valor_ray.models.vllm.policy import VllmPolicy
from valor_ray.models.vllm.seats import Seats
from valor_ray.ports import Turn
from valor_ray.records import START_VERSION, Reply, Sampling
from valor_ray.runs.publications import Checksums, Publication


@serve.deployment(name="policy")
class PolicyDeployment:
    """A replica: samples replies by one engine, and says by which version of the weights.

    The front door calls `generate`, rollout workers `sample`, an evaluation `generate`. The engine batches concurrent
    calls by itself, so there is no serve.batch here; calls that come while new weights are loaded wait for them.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: PolicyConfig, run: str | None = None, lora_rank: int | None = None
    ) -> None:
        """run: folder of a training run. Its published weights are loaded before the replica takes work, and followed.
        lora_rank: those are adapters of this rank; None: whole models.

        Raises PolicyError, CheckpointError.
        """
        log_place("policy")
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._policy = VllmPolicy(config, lora_rank, engine_metrics())
        self._follower: Follower | None = None
        await self._policy.start()
        self._seats = None if self._policy.seats is None else Seats(self._policy.seats)
        if run is not None:
            self._follower = Follower(run, self._replica, self._load, self._policy.healthy)
            await self._follower.catch_up()
            self._follower.follow()

    async def _load(self, news: Publication) -> Loaded:
        received: list[Checksums] = []
        if news.transfer is not None:
            received = await self._policy.receive_weights(news.transfer, self._replica, news.version)
        else:
            await self._policy.load_weights(Path(news.folder), news.version)
        return Loaded(await self._policy.score(news.probe), received)

    async def generate(
        self, question: str, n: int, seed: int | None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        """n replies to one question, or to the last of `turns` (ports.Policy). Raises QuestionError, PolicyError;
        ReplicaGone as `sample`."""
        async with self._of_use():
            return await self._policy.generate(question, n=n, seed=seed, turns=turns)

    async def sample(
        self, questions: Sequence[str], n: int, seed: int, sampling: Sampling, since: float
    ) -> list[list[Reply]] | None:
        """n replies to each question (ports.Sampler); None: the engine has no room, ask again, maybe another replica.
        since: when they were first asked for.

        Raises PolicyError; ReplicaGone when the engine is of no more use, so that the call goes to another replica.
        """
        room = nullcontext(True) if self._seats is None else self._seats.of(n * len(questions), since)
        async with self._of_use(), room as there:
            if not there:
                return None
            return await self._policy.sample(questions, n=n, seed=seed, sampling=sampling)

    async def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities of completion tokens, as VllmPolicy.score. Raises PolicyError."""
        return await self._policy.score(sequences)

    async def check_health(self) -> None:
        """Called by Serve, which replaces the replica when it has ended (its engine is of no more use), and when this
        fails (it no longer follows its run). Raises ReplicaGone, ServiceError."""
        await self._healthy()
        if self._follower is not None:
            self._follower.check()

    async def status(self) -> dict[str, Any]:
        """{"version", "replica"}: of the weights, as published, or the model's name where nothing was. Raises
        ReplicaGone."""
        await self._healthy()
        version = self._policy.version
        return {
            "version": self._policy.config.model if version == START_VERSION else version,
            "replica": self._replica,
        }

    @asynccontextmanager
    async def _of_use(self) -> AsyncIterator[None]:
        """Around what the engine is asked: its failure on one request is told from its end."""
        try:
            yield
        except PolicyError:
            await self._healthy()
            raise

    async def _healthy(self) -> None:
        """Ends this replica when its engine is of no more use. Raises ReplicaGone."""
        try:
            await self._policy.healthy()
        except PolicyError as useless:
            end_replica(str(useless))

    def __del__(self) -> None:
        self._policy.close()
