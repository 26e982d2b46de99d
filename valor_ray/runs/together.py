"""What is asked within a moment travels in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Together(Generic[Item, Answer]):
    """Each call gets the answer to its own item, and all items of a moment are sent at once.

    Called by many tasks of one event loop; each waits for its moment to pass and for `send`. An error of `send` reaches
    everyone whose item was in it. What was given is sent, also when whoever gave it no longer waits.
    """

    def __init__(self, send: Callable[[list[Item]], Awaitable[Sequence[Answer]]], moment_s: float) -> None:
        """send: items in the order of the calls -> an answer to each."""
        self._send, self._moment_s = send, moment_s
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if len(self._waiting) == 1:
            # a task of its own, so that the first caller can give up without taking the others along
            task = asyncio.create_task(self._send_soon())
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return await answer

    async def all_sent(self) -> None:
        """Wait until everything that was given has been sent. Raises an error that nobody else has heard of."""
        await asyncio.gather(*self._sending)

    async def _send_soon(self) -> None:
        await asyncio.sleep(self._moment_s)
        batch, self._waiting = self._waiting, []
        try:
            answers = await self._send([item for item, _ in batch])
            pairs = list(zip(batch, answers, strict=True))
        except BaseException as error:
            told = [answer for _, answer in batch if not answer.done()]
            for answer in told:
                answer.set_exception(error)
            if not told or not isinstance(error, Exception):  # nobody has heard of it, or the loop is ending
                raise
            return
        for (_, waiting), answer_to_it in pairs:
            if not waiting.done():
                waiting.set_result(answer_to_it)
