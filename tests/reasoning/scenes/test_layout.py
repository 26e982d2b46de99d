"""Ranks and boxes of symbolic scenes."""

from random import Random

import pytest

from valor_ray.reasoning.scenes.layout import draw, misleads, place


@pytest.mark.parametrize("count", range(3, 8))
@pytest.mark.parametrize("mislead", [True, False])
@pytest.mark.parametrize("low_is_near", [True, False])
@pytest.mark.parametrize("wide_is_high", [True, False])
def test_the_first_two_objects_stand_as_told(
    count: int, mislead: bool, low_is_near: bool, wide_is_high: bool
) -> None:
    for seed in range(5):
        ranks = draw(count, Random(seed), mislead=mislead, low_is_near=low_is_near, wide_is_high=wide_is_high)
        for each in (ranks, ranks.reversed()):
            a, b = place(each)[:2]
            assert misleads(a, b) is mislead
            assert ((a.bbox[1] > b.bbox[1]) == (a.depth_m < b.depth_m)) is low_is_near
            assert ((a.width > b.width) == (a.height > b.height)) is wide_is_high


@pytest.mark.parametrize("count", range(1, 8))
def test_reversed_ranks_turn_every_comparison_round(count: int) -> None:
    ranks = draw(count, Random(count), mislead=False, low_is_near=True, wide_is_high=False)
    one, other = place(ranks), place(ranks.reversed())
    for i in range(count):
        for j in range(i):
            for measure in (
                lambda p: p.bbox[0],
                lambda p: p.bbox[1],
                lambda p: p.depth_m,
                lambda p: p.height,
            ):
                assert (measure(one[i]) < measure(one[j])) != (measure(other[i]) < measure(other[j]))
