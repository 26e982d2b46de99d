"""The two clocks of a program on the fork path: its own time, and the time that it waits for tools."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self


class ProgramClock:
    """Cancels what runs inside `async with` when either clock has run out; of the two only one runs at a time.

    Made by Sandbox for one run; `Conversation` says when the program waits for a tool.
    Leaving it after that raises TimeoutError, and `expired` is true; `waiting` tells which clock it was.
    """

    def __init__(self, own_seconds: float, tool_seconds: float) -> None:
        self.waiting = False  # for a tool
        self._own_seconds = own_seconds
        self._standing = tool_seconds  # what the clock that stands still has left
        self._running = asyncio.timeout(own_seconds)

    @property
    def expired(self) -> bool:
        return self._running.expired()

    @contextmanager
    def tool(self) -> Iterator[None]:
        """Around the wait for one tool call."""
        self._change()
        try:
            yield
        finally:
            if not self.expired:
                self._change()

    def _change(self) -> None:
        now, due = asyncio.get_running_loop().time(), self._running.when()
        assert due is not None
        self._running.reschedule(now + self._standing)
        self._standing, self.waiting = due - now, not self.waiting

    async def __aenter__(self) -> Self:
        await self._running.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._running.__aexit__(kind, error, trace)
