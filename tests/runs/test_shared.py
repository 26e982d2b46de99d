"""One piece of work for all who want the same: it ends with its result, or with the last who waits."""

from __future__ import annotations

import asyncio
import gc

import pytest

from valor_ray.runs.shared import Shared

LONG_S = 20.0


def test_all_who_wait_get_the_result_and_later_ones_have_it_at_once() -> None:
    async def work() -> str:
        await asyncio.sleep(0.001)
        return "done"

    async def run() -> None:
        shared = Shared(work())
        assert await asyncio.gather(shared.result(), shared.result()) == ["done", "done"]
        assert await shared.result() == "done" and not shared.given_up

    asyncio.run(run())


def test_who_hangs_up_takes_it_from_nobody_and_the_last_ends_it() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def run() -> None:
        shared = Shared(work())
        first, last = (asyncio.create_task(shared.result()) for _ in range(2))
        await asyncio.sleep(0.001)
        first.cancel()
        await asyncio.sleep(0.001)
        assert not ended and not shared.given_up
        last.cancel()
        await asyncio.sleep(0.001)
        assert ended == ["cancelled"] and shared.given_up

    asyncio.run(run())


def test_an_error_reaches_all_and_is_no_noise_where_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ValueError("bad")

    async def run() -> None:
        shared = Shared(work())
        ends = await asyncio.gather(shared.result(), shared.result(), return_exceptions=True)
        assert [str(end) for end in ends] == ["bad", "bad"] and not shared.given_up
        Shared(work())
        await asyncio.sleep(0.001)

    asyncio.run(run())
    gc.collect()
    assert caplog.text == ""
