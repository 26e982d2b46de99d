"""Batches for a model that runs one at a time: what comes while it runs waits for the next batch, which so fills up.

In place of serve.batch, which closes a batch after `batch_wait_timeout_s` although the one before is still running:
under load small batches then queue up (detector, 16 clients, max_batch 8: 2 to 3 pictures a batch were measured).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches(Generic[Item, Result]):
    """Each call gets the result of its own item; a batch starts when the one before has ended.

    Called by many tasks of one event loop, each of which waits for its batch. An exception in the place of a result is
    raised in the call of that item alone; one of `work` in all calls of the batch.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Coroutine[Any, Any, Sequence[Result | BaseException]]],
        max_batch: int,
        wait_s: float,
    ) -> None:
        """work: items -> a result or an exception each, in order. wait_s: longest wait for a batch to fill, seconds."""
        self._work, self._max_batch, self._wait_s = work, max_batch, wait_s
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._full = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if len(self._waiting) >= self._max_batch:
            self._full.set()
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await result

    async def _run(self) -> None:
        """Batch after batch, until nobody waits."""
        try:
            while self._waiting:
                await self._filled()
                count = min(self._max_batch, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(count)]
                batch = [(item, result) for item, result in batch if not result.done()]  # somebody hung up
                if batch:
                    await self._one(batch)
        finally:
            self._running = None

    async def _filled(self) -> None:
        """Until there is a full batch, or the longest wait is over."""
        if len(self._waiting) >= self._max_batch:
            return
        self._full.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._full.wait(), self._wait_s)

    async def _one(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        items = [item for item, _ in batch]
        outcomes: Sequence[Result | BaseException]
        (done,) = await asyncio.gather(asyncio.ensure_future(self._work(items)), return_exceptions=True)
        # whatever it is, those who wait must hear of it
        outcomes = [done] * len(batch) if isinstance(done, BaseException) else done
        for (_, result), outcome in zip(batch, outcomes, strict=True):
            if result.done():
                continue
            if isinstance(outcome, BaseException):
                result.set_exception(outcome)
            else:
                result.set_result(outcome)
