"""What is worked out once: whoever asks for the same while it is in work waits for it, later ones have it at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """A function of a key whose most recent values are kept. An error reaches all who wait for it, and is not kept.

    Called by many tasks of one event loop. Whoever gives up takes nobody along: the work goes on.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[Value]],
        most: int,
        keep: Callable[[Value], bool] = lambda value: True,
    ) -> None:
        """most: values kept. keep: whether a value may be given again to who comes later."""
        self._work, self._most, self._keep = work, most, keep
        self._known: OrderedDict[Key, asyncio.Task[Value]] = OrderedDict()

    async def __call__(self, key: Key) -> tuple[Value, bool]:
        """The value, and whether this call is the one that has caused the work."""
        task = self._known.get(key)
        first = task is None
        if task is None:
            task = asyncio.create_task(self._run(key))
            self._known[key] = task
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return await asyncio.shield(task), first

    async def _run(self, key: Key) -> Value:
        mine = asyncio.current_task()
        kept = False
        try:
            value = await self._work(key)
            kept = self._keep(value)
            return value
        finally:
            if not kept and self._known.get(key) is mine:
                del self._known[key]
