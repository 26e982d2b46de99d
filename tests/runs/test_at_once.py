"""Work on many things, some at a time."""

from __future__ import annotations

import asyncio

import pytest

from valor_ray.errors import PolicyError
from valor_ray.runs.at_once import each


def test_each_is_worked_on_once_and_so_many_at_a_time() -> None:
    done, now, most = [], 0, 0

    async def work(item: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        done.append(item)

    asyncio.run(each(range(10), work, 3))
    assert sorted(done) == list(range(10)) and most == 3


def test_first_error_ends_all_and_is_raised_as_it_is() -> None:
    begun = []

    async def work(item: int) -> None:
        begun.append(item)
        await asyncio.sleep(0.001)
        raise PolicyError(f"no reply to {item}")

    with pytest.raises(PolicyError, match="no reply to 0"):
        asyncio.run(each(range(10), work, 2))
    assert begun == [0, 1]
