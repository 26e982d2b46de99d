"""What is worked out once: shared while in work, kept afterwards, forgotten when it failed or is old."""

from __future__ import annotations

import asyncio

import pytest

from valor_ray.reasoning.scenes.remembered import Remembered


class Work:
    def __init__(self) -> None:
        self.done: list[str] = []

    async def __call__(self, key: str) -> str:
        self.done.append(key)
        await asyncio.sleep(0.01)
        if key == "fails":
            raise ValueError(key)
        return key.upper()


def test_who_asks_for_the_same_shares_it_and_later_ones_have_it_at_once() -> None:
    work = Work()
    remembered = Remembered(work, 10)

    async def many() -> list[tuple[str, bool]]:
        together = await asyncio.gather(*(remembered("a") for _ in range(3)))
        return [*together, await remembered("a"), await remembered("b")]

    assert asyncio.run(many()) == [("A", True), ("A", False), ("A", False), ("A", False), ("B", True)]
    assert work.done == ["a", "b"]


def test_error_reaches_all_who_wait_and_is_not_kept() -> None:
    work = Work()
    remembered = Remembered(work, 10)

    async def both() -> list[object]:
        return list(await asyncio.gather(remembered("fails"), remembered("fails"), return_exceptions=True))

    assert all(isinstance(error, ValueError) for error in asyncio.run(both()))
    with pytest.raises(ValueError, match="fails"):
        asyncio.run(one(remembered, "fails"))
    assert work.done == ["fails"] * 2


def test_values_that_are_not_to_be_kept_are_worked_out_again() -> None:
    work = Work()
    remembered = Remembered(work, 10, keep=lambda value: value != "A")

    async def twice() -> None:
        for key in ("a", "a", "b", "b"):
            await remembered(key)

    asyncio.run(twice())
    assert work.done == ["a", "a", "b"]


def test_the_longest_unused_goes_first() -> None:
    work = Work()
    remembered = Remembered(work, 2)

    async def asked() -> None:
        for key in ("a", "b", "a", "c", "a", "b"):
            await remembered(key)

    asyncio.run(asked())
    assert work.done == ["a", "b", "c", "b"]


def test_who_gives_up_takes_nobody_along() -> None:
    work = Work()
    remembered = Remembered(work, 2)

    async def one_gives_up() -> tuple[str, bool]:
        patient = asyncio.create_task(remembered("a"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(remembered("a"), 0.001)
        return await patient

    assert asyncio.run(one_gives_up()) == ("A", True) and work.done == ["a"]


async def one(remembered: Remembered[str, str], key: str) -> tuple[str, bool]:
    return await remembered(key)
