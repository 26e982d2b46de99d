"""The rollout buffer as an actor, which also carries what learner processes have to say to the driver."""

from __future__ import annotations

import pickle
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from deployments.actors.notes import Notes
from valor_ray.config.tree import Config
from valor_ray.reasoning.curriculum import Learnability
from valor_ray.reasoning.training.buffer import RolloutBuffer
from valor_ray.reasoning.training.host import new_buffer
from valor_ray.reasoning.training.schedule import Assignment

_AT_ONCE = 10_000  # callers that wait for their turn, each a coroutine


class RolloutActor(Notes):
    """RolloutBuffer behind Ray, on the driver's node: it lives as long as one start of a run.

    Rollout workers call `turn` and wait until they may sample; the driver calls `put` and `stop`; learner processes
    call `batch` and wait until the step is there, then `published` and `checkpointed`, which let turns go on.
    """

    def __init__(self, config: Config, shards: int, curriculum: Learnability | None) -> None:
        super().__init__()
        self._buffer: RolloutBuffer = new_buffer(config, shards, curriculum)

    async def put(self, outcome: bytes) -> None:
        await self._buffer.put(pickle.loads(outcome))

    async def turn(self, assignment: Assignment) -> Assignment | None:
        return await self._buffer.turn(assignment)

    async def batch(self, step: int, start: str) -> Any:
        return await self._buffer.batch(step, start)

    async def leave(self, start: str) -> None:
        await self._buffer.leave(start)

    async def published(self, step: int) -> None:
        await self._buffer.published(step)

    async def checkpointed(self, step: int) -> None:
        await self._buffer.checkpointed(step)

    async def stop(self, reason: str) -> None:
        await self._buffer.stop(reason)


def open_buffer(config: Config, shards: int, curriculum: Learnability | None = None) -> ActorHandle:
    """A new buffer for one start of a run; curriculum: as RolloutBuffer's."""
    node = ray.get_runtime_context().get_node_id()
    return (
        ray.remote(RolloutActor)
        .options(
            num_cpus=0,
            max_concurrency=_AT_ONCE,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote(config, shards, curriculum)
    )
