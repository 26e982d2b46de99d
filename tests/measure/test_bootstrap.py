"""Intervals and tests of marks whose questions share pictures."""

import random

import pytest

from valor_ray.measure.bootstrap import Marked, interval, macro_interval
from valor_ray.measure.holm import holm
from valor_ray.measure.intervals import wilson
from valor_ray.measure.paired import paired_marks, smallest_visible


def test_independent_right_and_wrong_has_wilsons_interval() -> None:
    marks = [1.0] * 44 + [0.0] * 56
    assert interval(Marked(marks, range(100))) == pytest.approx(wilson(44, 100), abs=0.01)


def test_shared_pictures_widen_the_interval() -> None:
    marks = [float(number % 2) for number in range(50) for _ in range(4)]
    alone, shared = interval(Marked(marks, range(200))), interval(Marked(marks, [n // 4 for n in range(200)]))
    assert shared[0] < alone[0] and shared[1] > alone[1]


def test_fractions_get_a_bootstrap_that_covers_and_is_the_same_each_time() -> None:
    draw = random.Random(0)
    covered = 0
    for _ in range(10):
        marks = [draw.choice([0.0, 0.3, 0.9, 1.0]) for _ in range(80)]
        low, high = interval(Marked(marks, range(80)))
        covered += low <= 0.55 <= high
    assert covered >= 7
    assert interval(Marked(marks, range(80))) == (low, high)


@pytest.mark.parametrize(("marks", "clusters"), [([], []), ([0.5], ["a"]), ([0.5, 0.7], ["a", "a"])])
def test_one_picture_or_none_says_hardly_anything(marks: list[float], clusters: list[str]) -> None:
    low, high = interval(Marked(marks, clusters))
    assert low <= 0.2 and high >= 0.9


def test_macro_interval_is_about_the_mean_of_the_parts() -> None:
    parts = [Marked([1.0] * 90 + [0.0] * 10, range(100)), Marked([1.0] * 2 + [0.0] * 8, range(10))]
    low, high = macro_interval(parts)
    assert low < 0.55 < high and high - low > 0.2  # the small part weighs as much as the large one
    assert macro_interval([parts[0], Marked([1.0], ["a"])]) == (0, 1)


def test_paired_right_and_wrong_is_tested_by_mcnemar() -> None:
    before, after = [0.0] * 10 + [1.0] * 2 + [1.0] * 88, [1.0] * 10 + [0.0] * 2 + [1.0] * 88
    paired = paired_marks(before, after, range(100))
    assert (paired.fixed, paired.broken, paired.test) == (10, 2, "mcnemar")
    assert paired.gain == pytest.approx(0.08) and paired.p == pytest.approx(0.03857, abs=1e-4)
    assert paired.ci[0] < 0.08 < paired.ci[1] and paired.ci[0] > 0


def test_paired_fractions_are_tested_by_the_bootstrap_over_pictures() -> None:
    before, after = [0.5] * 60, [0.5 + 0.1 * (n % 3) for n in range(60)]
    paired = paired_marks(before, after, [n // 2 for n in range(60)])
    assert paired.test == "bootstrap" and paired.p < 0.01 and paired.ci[0] > 0
    same = paired_marks(before, before, range(60))
    assert (same.gain, same.p, same.ci) == (0, 1, (0, 0))


def test_one_picture_supports_no_difference() -> None:
    paired = paired_marks([0.0, 0.1], [1.0, 1.0], ["a", "a"])
    assert (paired.ci, paired.p) == ((-1, 1), 1)


@pytest.mark.parametrize(
    ("n", "points"), [(100, 12.1), (228, 8.2), (340, 6.7), (501, 5.6), (765, 4.5), (3588, 2.1)]
)
def test_smallest_visible_difference_of_the_benchmarks_sizes(n: int, points: float) -> None:
    assert 100 * smallest_visible(n, 0.2) == pytest.approx(points, abs=0.05)


def test_few_questions_show_only_what_nearly_all_of_them_show() -> None:
    assert smallest_visible(3, 0.05) > 0.7 and smallest_visible(100, 0.05) > 0.07
    assert paired_marks([0.0] * 3, [0.0] * 3, range(3)).visible > 0.7


def test_shared_pictures_show_less() -> None:
    before, after = [0.0] * 80, [float(n // 4 % 2) for n in range(80)]
    alone, shared = (paired_marks(before, after, [n // size for n in range(80)]).visible for size in (1, 4))
    assert shared > 1.7 * alone


def test_holm_orders_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1] and holm([0.02]) == [0.02] and holm([]) == []
