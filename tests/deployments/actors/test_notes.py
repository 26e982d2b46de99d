"""Notes arrive in order, all at once, and nobody waits longer than told."""

from __future__ import annotations

import asyncio
import time

from deployments.actors.notes import Notes


def test_notes_come_in_order_once_and_what_is_not_there_is_waited_for() -> None:
    async def run() -> None:
        notes = Notes()
        assert await notes.notes(0.01) == []
        waiting = asyncio.create_task(notes.notes(60))
        await asyncio.sleep(0.01)
        await notes.note("say", "one")
        assert await waiting == [("say", "one")]
        for number in range(3):
            await notes.note("step", number)
        assert await notes.notes(60) == [("step", 0), ("step", 1), ("step", 2)]
        start = time.monotonic()
        assert await notes.notes(0.05) == [] and time.monotonic() - start >= 0.04

    asyncio.run(run())
