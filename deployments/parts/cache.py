"""Results by the content of a picture: the same pixels are never worked on twice while they are remembered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class ContentCache(Generic[V]):
    """Least-recently-used results, and one computation at a time for equal keys. For one event loop."""

    def __init__(self, most: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        """most: of the weights of what is kept, all together; without `weigh` how many results."""
        self._most, self._weigh = most, weigh
        self._weight = 0
        self._kept: OrderedDict[Hashable, V] = OrderedDict()
        self._running: dict[Hashable, asyncio.Future[V]] = {}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def forget(self) -> None:
        """All results, those that are being made included: who waits for one gets it, nobody else does."""
        self._kept.clear()
        self._weight = 0
        self._running.clear()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[V]]) -> V:
        """The kept result, or that of `make`. Failures are not kept: they reach those who wait now."""
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            return self._kept[key]
        running = self._running.get(key)
        if running is None:
            self.misses += 1
            running = asyncio.ensure_future(make())
            self._running[key] = running
            running.add_done_callback(lambda done: self._finish(key, done))
        else:
            self.hits += 1
        # Shielded: a caller who hangs up must not take the result from the others who wait for it.
        return await asyncio.shield(running)

    def _finish(self, key: Hashable, done: asyncio.Future[V]) -> None:
        if self._running.get(key) is not done:
            return  # forgotten while it was made
        del self._running[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._kept[key] = done.result()
        self._weight += self._weigh(done.result())
        while self._weight > self._most:
            _, oldest = self._kept.popitem(last=False)
            self._weight -= self._weigh(oldest)
