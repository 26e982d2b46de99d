"""One bad item must not fail the batch it shares."""

from __future__ import annotations

import asyncio

import pytest

from deployments.parts.isolate import result_or_raise, run_batch


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
    assert (result_or_raise(first), result_or_raise(last)) == (2, 4)
    with pytest.raises(ValueError, match="13"):
        result_or_raise(bad)
