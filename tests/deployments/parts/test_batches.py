"""A batch fills while the one before runs; nobody waits for ever, and a failure reaches those whom it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from deployments.parts.batches import Batches

NEVER_S = 20.0  # a batch that does not start by itself fails the test


class Doubling:
    """A model that notes its batches and waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.at_a_time = self.most = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, items: list[int]) -> Sequence[int | BaseException]:
        self.batches.append(items)
        self.at_a_time += 1
        self.most = max(self.most, self.at_a_time)
        await self.go.wait()
        self.at_a_time -= 1
        if 666 in items:
            raise RuntimeError("all of it")
        return [ValueError("unlucky") if item == 13 else 2 * item for item in items]


def finished(work: Callable[[Doubling], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work(Doubling()), 2 * NEVER_S)

    asyncio.run(limited())


async def calls_while_busy(model: Doubling, batches: Batches[int, int], items: range) -> list[int]:
    """A first call alone, the others while it runs; the results of all."""
    model.go.clear()
    calls = [asyncio.create_task(batches(0))]
    while not model.batches:
        await asyncio.sleep(0.001)
    for item in items:
        calls.append(asyncio.create_task(batches(item)))
        await asyncio.sleep(0.005)  # longer than wait_s: serve.batch would close a batch for each
    model.go.set()
    return list(await asyncio.gather(*calls))


def test_what_comes_while_a_batch_runs_fills_the_next() -> None:
    async def work(model: Doubling) -> None:
        batches: Batches[int, int] = Batches(model, max_batch=4, wait_s=0.001)
        assert await calls_while_busy(model, batches, range(1, 10)) == [2 * item for item in range(10)]
        assert model.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]] and model.most == 1

    finished(work)


def test_a_full_batch_starts_at_once_and_one_that_is_not_full_after_the_wait() -> None:
    async def work(model: Doubling) -> None:
        patient: Batches[int, int] = Batches(model, max_batch=2, wait_s=NEVER_S)
        assert await asyncio.wait_for(asyncio.gather(patient(1), patient(2)), NEVER_S / 2) == [2, 4]
        first = asyncio.create_task(patient(3))
        await asyncio.sleep(0.01)
        assert len(model.batches) == 1 and await asyncio.wait_for(patient(4), NEVER_S / 2) == 8
        assert await first == 6 and model.batches == [[1, 2], [3, 4]]
        hasty: Batches[int, int] = Batches(model, max_batch=2, wait_s=0.001)
        assert await hasty(5) == 10

    finished(work)


def test_one_failure_is_its_callers_and_a_failed_batch_everybodys() -> None:
    async def work(model: Doubling) -> None:
        batches: Batches[int, int] = Batches(model, max_batch=3, wait_s=NEVER_S)
        first, bad, last = await asyncio.gather(batches(1), batches(13), batches(2), return_exceptions=True)
        assert (first, last) == (2, 4) and isinstance(bad, ValueError)
        lost = await asyncio.gather(batches(1), batches(666), batches(2), return_exceptions=True)
        assert [type(each) for each in lost] == [RuntimeError] * 3
        assert await asyncio.gather(batches(5), batches(6), batches(7)) == [10, 12, 14]  # it goes on

    finished(work)


def test_who_hangs_up_takes_no_place_and_nobody_along() -> None:
    async def work(model: Doubling) -> None:
        batches: Batches[int, int] = Batches(model, max_batch=3, wait_s=0.05)
        gone, stays = asyncio.create_task(batches(1)), asyncio.create_task(batches(2))
        await asyncio.sleep(0.001)
        gone.cancel()
        assert await stays == 4 and model.batches == [[2]]
        with pytest.raises(asyncio.CancelledError):
            await gone

    finished(work)
