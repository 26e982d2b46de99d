"""Results kept by content: once computed, once waited for, forgotten in order of use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from deployments.parts.cache import ContentCache


class Work:
    """Counts how often each key is computed."""

    def __init__(self, seconds: float = 0) -> None:
        self.done: list[str] = []
        self._seconds = seconds

    def of(self, key: str) -> Callable[[], Coroutine[Any, Any, str]]:
        async def make() -> str:
            await asyncio.sleep(self._seconds)
            self.done.append(key)
            if key == "bad":
                raise ValueError("bad")
            return key.upper()

        return make


def test_equal_keys_are_computed_once_also_when_asked_at_the_same_time() -> None:
    async def run() -> None:
        work, cache = Work(0.01), ContentCache[str](4)
        assert await asyncio.gather(*(cache.get("a", work.of("a")) for _ in range(5))) == ["A"] * 5
        assert await cache.get("a", work.of("a")) == "A"
        assert work.done == ["a"] and (cache.hits, cache.misses) == (5, 1)

    asyncio.run(run())


def test_the_least_recently_used_is_forgotten() -> None:
    async def run() -> None:
        work, cache = Work(), ContentCache[str](2)
        for key in ("a", "b", "a", "c", "a", "b"):
            await cache.get(key, work.of(key))
        assert work.done == ["a", "b", "c", "b"] and len(cache) == 2

    asyncio.run(run())


def test_without_entries_nothing_is_kept() -> None:
    async def run() -> None:
        work, cache = Work(), ContentCache[str](0)
        for _ in range(2):
            await cache.get("a", work.of("a"))
        assert work.done == ["a", "a"] and len(cache) == 0

    asyncio.run(run())


def test_failures_reach_everyone_who_waits_and_are_not_kept() -> None:
    async def run() -> None:
        work, cache = Work(0.01), ContentCache[str](2)
        got = await asyncio.gather(
            *(cache.get("bad", work.of("bad")) for _ in range(2)), return_exceptions=True
        )
        assert [type(outcome) for outcome in got] == [ValueError, ValueError]
        with pytest.raises(ValueError, match="bad"):
            await cache.get("bad", work.of("bad"))
        assert work.done == ["bad", "bad"]

    asyncio.run(run())


def test_a_caller_who_hangs_up_does_not_take_the_result_from_the_others() -> None:
    async def run() -> None:
        work, cache = Work(0.05), ContentCache[str](2)
        first = asyncio.ensure_future(cache.get("a", work.of("a")))
        second = asyncio.ensure_future(cache.get("a", work.of("a")))
        await asyncio.sleep(0.01)
        first.cancel()
        assert await second == "A" and work.done == ["a"]

    asyncio.run(run())


def test_work_ends_when_all_who_waited_for_it_have_hung_up_and_begins_anew_for_who_comes() -> None:
    async def run() -> None:
        work, cache = Work(0.05), ContentCache[str](2)
        callers = [asyncio.create_task(cache.get("a", work.of("a"))) for _ in range(3)]
        await asyncio.sleep(0.01)
        for caller in callers[:2]:
            caller.cancel()
        await asyncio.sleep(0)
        callers[2].cancel()
        late = asyncio.create_task(
            cache.get("a", work.of("a"))
        )  # before the end of the work has come to its end
        gone = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in gone)
        assert await late == "A" and work.done == ["a"] and (cache.hits, cache.misses) == (2, 2)
        assert await cache.get("a", work.of("a")) == "A" and work.done == ["a"]

    asyncio.run(run())


def test_what_is_forgotten_while_it_is_made_ends_with_those_who_wait_for_it() -> None:
    async def run() -> None:
        work, cache = Work(0.02), ContentCache[str](2)
        gone, stays = (asyncio.create_task(cache.get("a", work.of("a"))) for _ in range(2))
        await asyncio.sleep(0.005)
        cache.forget()
        new = asyncio.create_task(cache.get("a", work.of("a")))
        gone.cancel()
        assert await stays == await new == "A" and work.done == ["a", "a"]

    asyncio.run(run())


def test_what_is_kept_can_be_bounded_by_weight() -> None:
    async def run() -> None:
        work, cache = Work(), ContentCache[str](most_bytes=10, weigh=len)
        for key in ("aaaa", "bbbbb", "a" * 11, "cc"):
            await cache.get(key, work.of(key))
        assert len(cache) == 1  # what is heavier than all that may be kept takes the place of nobody for long
        await cache.get("cc", work.of("cc"))
        assert work.done == ["aaaa", "bbbbb", "a" * 11, "cc"]

    asyncio.run(run())


def test_both_bounds_hold_together() -> None:
    async def run() -> None:
        work, cache = Work(), ContentCache[str](3, 10, len)
        for key in ("a", "b", "c", "d"):
            await cache.get(key, work.of(key))
        assert len(cache) == 3
        await cache.get("e" * 9, work.of("e" * 9))
        assert len(cache) == 2
        for key in ("d", "e" * 9):
            await cache.get(key, work.of(key))
        assert work.done == ["a", "b", "c", "d", "e" * 9]

    asyncio.run(run())
