"""What is asked within a moment travels in one call, and nobody suffers from another one's end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from valor_ray.runs.together import Together

MOMENT_S = 0.01


class Doubling:
    """Answers 2 n, and remembers what came together."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []

    async def __call__(self, items: list[int]) -> Sequence[int]:
        self.sent.append(items)
        await asyncio.sleep(MOMENT_S)
        return [2 * item for item in items]


def test_items_of_a_moment_travel_in_one_call_and_each_gets_its_own_answer() -> None:
    async def run() -> None:
        send = Doubling()
        together = Together(send, MOMENT_S)
        assert await asyncio.gather(*(together(n) for n in range(5))) == [0, 2, 4, 6, 8]
        assert await together(7) == 14
        assert send.sent == [[0, 1, 2, 3, 4], [7]]

    asyncio.run(run())


def test_item_given_while_others_are_being_sent_is_sent_in_the_next_call() -> None:
    async def run() -> None:
        send = Doubling()
        together = Together(send, MOMENT_S)
        first = asyncio.create_task(together(1))
        while not send.sent:
            await asyncio.sleep(0)
        assert (await together(2), await first) == (4, 2)
        assert send.sent == [[1], [2]]

    asyncio.run(run())


@pytest.mark.parametrize("given_up", [0, 1, 2])  # the first one asks for all
def test_one_who_no_longer_waits_takes_nobody_along(given_up: int) -> None:
    async def run() -> None:
        send = Doubling()
        together = Together(send, MOMENT_S)
        tasks = [asyncio.create_task(together(n)) for n in range(3)]
        await asyncio.sleep(0)
        tasks[given_up].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(answers.pop(given_up), asyncio.CancelledError)
        assert answers == [2 * n for n in range(3) if n != given_up]
        assert send.sent == [[0, 1, 2]]  # what was given is sent

    asyncio.run(run())


def test_one_who_gives_up_while_it_is_sent_takes_nobody_along() -> None:
    async def run() -> None:
        send = Doubling()
        together = Together(send, MOMENT_S)
        tasks = [asyncio.create_task(together(n)) for n in range(2)]
        while not send.sent:
            await asyncio.sleep(0)
        tasks[0].cancel()
        assert await tasks[1] == 2

    asyncio.run(run())


def test_an_error_reaches_everyone_who_waits_and_the_next_call_is_tried() -> None:
    async def send(items: list[int]) -> Sequence[int]:
        if 0 in items:
            raise OSError("full")
        return items

    async def run() -> None:
        together = Together(send, MOMENT_S)
        answers = await asyncio.gather(*(together(n) for n in range(3)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["full"] * 3
        assert await together(5) == 5

    asyncio.run(run())


def test_answers_that_are_too_few_are_an_error_for_all() -> None:
    async def send(items: list[int]) -> Sequence[int]:
        return items[1:]

    async def run() -> None:
        together = Together(send, MOMENT_S)
        answers = await asyncio.gather(*(together(n) for n in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ValueError] * 3

    asyncio.run(run())


def test_all_sent_waits_for_what_nobody_waits_for() -> None:
    async def run() -> None:
        send = Doubling()
        together = Together(send, MOMENT_S)
        task = asyncio.create_task(together(1))
        await asyncio.sleep(0)
        task.cancel()
        await together.all_sent()
        assert send.sent == [[1]]

    asyncio.run(run())


def test_all_sent_raises_an_error_that_nobody_else_hears_of() -> None:
    async def send(items: list[int]) -> Sequence[int]:
        raise OSError("full")

    async def run() -> None:
        together = Together(send, MOMENT_S)
        task = asyncio.create_task(together(1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(OSError, match="full"):
            await together.all_sent()

    asyncio.run(run())
