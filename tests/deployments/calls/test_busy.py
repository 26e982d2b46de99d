"""A part that does not say in time how it is: busy while it answers calls, and not well when it hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from deployments.calls import busy
from deployments.calls.busy import Answering
from deployments.failures import ReplicaGone
from valor_ray.errors import PolicyError, ServiceError

SAID = {"version": "step-000003"}
BUSY = {"status": "ok", "busy": True}


class Part:
    """One that takes a call at a time, as a full replica does: what comes meanwhile, `status` too, stands in line."""

    def __init__(self) -> None:
        self._line, self.ends = asyncio.Lock(), asyncio.Event()
        self.failure: Exception | None = None
        self.answering = Answering("policy", self._look, 3600.0)

    async def _look(self) -> dict[str, Any]:
        async with self._line:
            if self.failure is not None:
                raise self.failure
            return SAID

    def ask(self, *, quick: bool = False) -> Coroutine[Any, Any, str]:
        async def call() -> str:
            async with self._line:
                if not quick:
                    await self.ends.wait()
                return "answer"

        return self.answering.ask(call)

    async def full(self) -> asyncio.Task[str]:
        """A call in work that ends when it may."""
        task = asyncio.create_task(self.ask())
        while not self._line.locked():
            await asyncio.sleep(0)
        return task


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "STATUS_TIMEOUT_S", 0.02)


async def told(part: Part, task: asyncio.Task[str]) -> dict[str, Any]:
    try:
        return await part.answering.status()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_part_that_answers_says_how_it_is_or_why_not() -> None:
    async def run() -> None:
        part = Part()
        assert await part.answering.status() == {"status": "ok"} | SAID
        part.failure = ServiceError("The policy failed.")
        assert await part.answering.status() == {"status": "unavailable", "reason": "The policy failed."}

    asyncio.run(run())


@pytest.mark.parametrize("sign", ["a call", "a look"])
def test_a_part_with_its_fill_of_calls_that_has_just_answered_is_busy(sign: str) -> None:
    async def run() -> None:
        part = Part()
        await (part.ask(quick=True) if sign == "a call" else part.answering.status())
        assert await told(part, await part.full()) == BUSY
        assert await part.answering.status() == {"status": "ok"} | SAID

    asyncio.run(run())


def test_a_part_that_answers_nothing_any_more_hangs_whatever_calls_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> dict[str, Any]:
        part = Part()
        await part.ask(quick=True)
        monkeypatch.setattr(busy, "BUSY_S", 0.0)
        return await told(part, await part.full())

    said = asyncio.run(run())
    assert said["status"] == "unavailable" and "hangs" in said["reason"]


def test_a_part_that_has_never_answered_is_not_busy() -> None:
    async def run() -> dict[str, Any]:
        part = Part()
        return await told(part, await part.full())

    assert asyncio.run(run())["status"] == "unavailable"


def test_a_part_without_calls_of_ours_is_not_busy() -> None:
    async def run() -> dict[str, Any]:
        part = Part()
        task = await part.full()
        part.ends.set()
        await task
        async with part._line:
            return await part.answering.status()

    assert asyncio.run(run())["status"] == "unavailable"


def test_a_part_whose_replica_is_gone_is_not_busy() -> None:
    async def run() -> dict[str, Any]:
        part, first = Part(), True

        async def call() -> str:
            nonlocal first
            if first:
                first = False
                raise ReplicaGone("gone")
            return "answer"

        await part.ask(quick=True)
        async with part._line:  # Serve's router holds a look back for want of a replica
            waiting = asyncio.create_task(part.answering.ask(call))
            while not part.answering.lost:
                await asyncio.sleep(0)
            return await told(part, waiting)

    assert asyncio.run(run())["status"] == "unavailable"


def test_answers_and_errors_reach_the_caller() -> None:
    async def fails() -> str:
        raise PolicyError("no")

    async def run() -> None:
        part = Part()
        assert await part.ask(quick=True) == "answer"
        with pytest.raises(PolicyError):
            await part.answering.ask(fails)
        assert part.answering._asking == 0

    asyncio.run(run())
