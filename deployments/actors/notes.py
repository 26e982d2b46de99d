"""What learner processes have to say to the driver of their run."""

from __future__ import annotations

import asyncio
from typing import Any


class Notes:
    """A queue in an actor, or a part of one: learner processes put notes in, the driver takes them out.

    `note` is called by the first learner process and returns at once; `notes` by deployments.learner.ray_train in the
    driver, and waits for the next one.
    """

    def __init__(self) -> None:
        self._notes: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def note(self, kind: str, content: Any) -> None:
        await self._notes.put((kind, content))

    async def notes(self, timeout_s: float) -> list[tuple[str, Any]]:
        """(kind, content) of what has been noted since the last call; waits for something up to `timeout_s`."""
        try:
            news = [await asyncio.wait_for(self._notes.get(), timeout_s)]
        except TimeoutError:
            return []
        while not self._notes.empty():
            news.append(self._notes.get_nowait())
        return news
