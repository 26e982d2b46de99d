"""Batches wait for seats in a replica's engine, but not for ever: another replica may have come that has some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# After so long a batch is handed back to who asked, who asks again. Calls of a step come all at once, and Serve spreads
# them by what it knew before: this evens it out, for one more call a second and waiting batch.
HAND_BACK_S = 1.0


class Seats:
    """Seats of an engine that batches continuously. Entered by a deployment around each batch that it samples.

    A batch goes in while a seat is free, also where it needs more: so the engine is full as long as work waits. Who was
    asked for first goes in first, also when it had been handed back: earlier steps are waited for.
    """

    def __init__(self, seats: int) -> None:
        """seats: sequences that the engine works on at a time."""
        self._seats, self._taken = seats, 0
        self._waiting: list[float] = []  # since when, of each batch
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def of(self, sequences: int, since: float, patience_s: float = HAND_BACK_S) -> AsyncIterator[bool]:
        """Seats for the block; False, and none, when none was free for patience_s.

        since: when the batch was first asked for, seconds of any clock that all use.
        """
        if not await self._sit(sequences, since, patience_s):
            yield False
            return
        try:
            yield True
        finally:
            async with self._moved:
                self._taken -= sequences
                self._moved.notify_all()

    async def _sit(self, sequences: int, since: float, patience_s: float) -> bool:
        async with self._moved:
            self._waiting.append(since)
            try:
                async with asyncio.timeout(patience_s):
                    await self._moved.wait_for(lambda: self._next(since))
                self._taken += sequences
            except TimeoutError:
                return False
            finally:
                self._waiting.remove(since)
                self._moved.notify_all()
            return True

    def _next(self, since: float) -> bool:
        return self._taken < self._seats and since == min(self._waiting)
