"""The rollout buffer as an actor, which also carries what learner processes have to say to the driver."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from valor_ray.config.tree import Config
from valor_ray.reasoning.training.buffer import RolloutBuffer
from valor_ray.reasoning.training.host import new_buffer

_AT_ONCE = 10_000  # callers that wait for their turn, each a coroutine


class RolloutActor:
    """RolloutBuffer behind Ray. On the driver's node: it lives as long as the run."""

    def __init__(self, config: Config, shards: int) -> None:
        self._buffer: RolloutBuffer = new_buffer(config, shards)
        self._notes: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def put(self, outcome: bytes) -> None:
        await self._buffer.put(pickle.loads(outcome))

    async def turn(self, step: int) -> bool:
        return await self._buffer.turn(step)

    async def batch(self, step: int) -> Any:
        return await self._buffer.batch(step)

    async def published(self, step: int) -> None:
        await self._buffer.published(step)

    async def checkpointed(self, step: int) -> None:
        await self._buffer.checkpointed(step)

    async def stop(self, reason: str) -> None:
        await self._buffer.stop(reason)

    async def note(self, kind: str, content: Any) -> None:
        await self._notes.put((kind, content))

    async def notes(self, timeout_s: float) -> list[tuple[str, Any]]:
        """What has been noted since the last call; waits for something up to `timeout_s`."""
        try:
            found = [await asyncio.wait_for(self._notes.get(), timeout_s)]
        except TimeoutError:
            return []
        while not self._notes.empty():
            found.append(self._notes.get_nowait())
        return found


def open_buffer(config: Config, shards: int) -> ActorHandle:
    """A new buffer for one start of a run."""
    node = ray.get_runtime_context().get_node_id()
    return (
        ray.remote(RolloutActor)
        .options(
            num_cpus=0,
            max_concurrency=_AT_ONCE,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote(config, shards)
    )
