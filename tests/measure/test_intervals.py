from __future__ import annotations

import pytest

from valor_ray.measure.intervals import paired_difference, wilson


def test_wilson_interval_agrees_with_published_values() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("right", "lost", "won", "wrong", "interval"),
    [
        (10, 0, 0, 10, (0.0, 0.0)),  # nothing changed
        (60, 5, 15, 20, (0.0141, 0.1859)),  # mean 0.1, s² = (0.2 − 0.01) × 100 / 99
        (60, 15, 5, 20, (-0.1859, -0.0141)),
        (0, 0, 30, 0, (1.0, 1.0)),
        (1, 0, 1, 0, (-0.4800, 1.0)),  # cut at the ends of what a change can be
        (1, 0, 0, 0, (-1.0, 1.0)),
        (0, 0, 0, 0, (-1.0, 1.0)),
    ],
)
def test_paired_difference(right: int, lost: int, won: int, wrong: int, interval: tuple) -> None:
    before = [True] * (right + lost) + [False] * (won + wrong)
    after = [True] * right + [False] * lost + [True] * won + [False] * wrong
    assert paired_difference(before, after) == pytest.approx(interval, abs=1e-4)


def test_paired_difference_is_narrower_than_that_of_two_samples_where_the_marks_go_together() -> None:
    before, after = [True] * 50 + [False] * 50, [True] * 56 + [False] * 44
    low, high = paired_difference(before, after)
    assert 0 < low < 0.06 < high and high - low < 0.1


def test_paired_difference_wants_the_same_questions() -> None:
    with pytest.raises(ValueError):
        paired_difference([True], [True, False])
