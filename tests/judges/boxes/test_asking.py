"""Boxes packed into requests: few of them, and groups together where that costs none."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from valor_ray.judges.boxes.asking import packed


def groups(*sizes: int) -> list[tuple[int, ...]]:
    ends = np.cumsum([0, *sizes])
    return [tuple(range(start, end)) for start, end in pairwise(ends)]


def test_groups_stay_together_where_that_costs_no_request() -> None:
    assert sorted(map(len, packed(groups(12, 12, 8, 8), 20))) == [20, 20]
    whole = groups(7, 7, 6)
    assert packed(whole, 20) == [whole[0] + whole[1] + whole[2]]


def test_requests_are_as_few_as_can_be_and_hold_everyone_once() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        sizes = rng.integers(0, 50, rng.integers(0, 12))
        most = int(rng.integers(1, 25))
        requests = packed(groups(*sizes), most)
        assert sorted(member for members in requests for member in members) == list(range(sum(sizes)))
        assert all(0 < len(members) <= most for members in requests)
        assert len(requests) == math.ceil(sum(sizes) / most)


def test_groups_that_must_not_be_parted_are_not() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        parts = groups(*rng.integers(2, 21, rng.integers(1, 12)))
        requests = packed(parts, 20, split=False)
        assert all(any(set(part) <= set(members) for members in requests) for part in parts)
        assert all(len(members) <= 20 for members in requests)
