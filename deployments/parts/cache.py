"""Results by the content of a picture: the same pixels are never worked on twice while they are remembered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from valor_ray.runs.shared import Shared

V = TypeVar("V")


class ContentCache(Generic[V]):
    """Least-recently-used results, and one computation at a time for equal keys. For one event loop."""

    def __init__(
        self, most: int | None = None, most_bytes: int | None = None, weigh: Callable[[V], int] = lambda _: 0
    ) -> None:
        """most: results kept; most_bytes: of all of them together, by `weigh`. None: as many as the other allows."""
        self._most, self._most_bytes, self._weigh = most, most_bytes, weigh
        self._bytes = 0
        self._kept: OrderedDict[Hashable, V] = OrderedDict()
        self._running: dict[Hashable, Shared[V]] = {}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def forget(self) -> None:
        """All results, those that are being made included: who waits for one gets it, nobody else does."""
        self._kept.clear()
        self._bytes = 0
        self._running.clear()

    async def get(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The kept result, or that of `make`, which ends when all who wait for it have hung up. Failures are not kept:
        they reach those who wait now."""
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            return self._kept[key]
        running = self._running.get(key)
        if running is None or running.given_up:
            self.misses += 1
            running = self._running[key] = Shared(make())
            running.task.add_done_callback(partial(self._finish, key, running))
        else:
            self.hits += 1
        return await running.result()

    def _finish(self, key: Hashable, running: Shared[V], done: asyncio.Task[V]) -> None:
        if self._running.get(key) is not running:
            return  # forgotten while it was made
        del self._running[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._kept[key] = done.result()
        self._bytes += self._weigh(done.result())
        while self._too_many():
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= self._weigh(oldest)

    def _too_many(self) -> bool:
        return (self._most is not None and len(self._kept) > self._most) or (
            self._most_bytes is not None and self._bytes > self._most_bytes
        )
