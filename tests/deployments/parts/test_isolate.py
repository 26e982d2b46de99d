"""One bad item must not fail the batch it shares."""

from __future__ import annotations

import asyncio

from deployments.parts.isolate import run_batch, run_prepared


def doubled(items: list[int]) -> list[int]:
    if 13 in items:
        raise ValueError("13")
    return [2 * item for item in items]


def test_good_batch_is_run_once_in_order() -> None:
    calls: list[list[int]] = []

    def model(items: list[int]) -> list[int]:
        calls.append(items)
        return doubled(items)

    assert asyncio.run(run_batch(model, [3, 1, 2])) == [6, 2, 4]
    assert calls == [[3, 1, 2]]


def test_only_the_bad_item_of_a_batch_fails() -> None:
    first, bad, last = asyncio.run(run_batch(doubled, [1, 13, 2]))
    assert (first, last) == (2, 4)
    assert isinstance(bad, ValueError) and str(bad) == "13"


def test_an_item_that_cannot_be_prepared_fails_alone_and_is_not_in_the_batch() -> None:
    calls: list[list[int]] = []

    async def prepare(item: str) -> int:
        return int(item)

    def model(items: list[int]) -> list[int]:
        calls.append(items)
        return doubled(items)

    first, broken, last = asyncio.run(run_prepared(prepare, model, ["1", "x", "3"]))
    assert (first, last, calls) == (2, 6, [[1, 3]]) and isinstance(broken, ValueError)
    (alone,) = asyncio.run(run_prepared(prepare, model, ["x"]))
    assert isinstance(alone, ValueError) and len(calls) == 1
