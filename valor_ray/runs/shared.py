"""One piece of work for all who want the same."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Work that begins at once and whose result, or error, reaches everyone who waits for it.

    Made by whoever wants it first, and awaited by any number of tasks of that event loop. Who hangs up takes it from
    nobody; with the last of them the work ends, too.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.task = asyncio.create_task(work)
        self.task.add_done_callback(_heard)
        self._waiting = 0

    @property
    def given_up(self) -> bool:
        """Whether the last has hung up before there was a result: it is to be begun anew."""
        return self.task.cancelling() > 0

    async def result(self) -> T:
        self._waiting += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.task.cancel()  # nothing, where it is done


def _heard(task: asyncio.Task[Any]) -> None:
    """An error reaches whoever waits; perhaps nobody does."""
    if not task.cancelled():
        task.exception()
