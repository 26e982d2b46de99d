import pytest

from valor_ray.measure.intervals import paired_difference
from valor_ray.measure.paired import mcnemar, paired_change

BEFORE = [True, False, False, True, False, False] * 10
AFTER = [True, True, False, False, True, False] * 10


def test_without_shared_pictures_it_is_the_paired_difference():
    change = paired_change(BEFORE, AFTER, range(60))
    assert change.ci == pytest.approx(paired_difference(BEFORE, AFTER))
    assert (change.n, change.fixed, change.broken) == (60, 20, 10)
    assert change.gain == pytest.approx(1 / 6) and change.after - change.before == pytest.approx(1 / 6)


def test_questions_that_change_together_are_worth_less():
    before, after = [False] * 40, [place % 4 < 2 for place in range(40)]
    alone = paired_change(before, after, range(40))
    together = paired_change(before, after, [place // 2 for place in range(40)])
    assert together.ci[0] < alone.ci[0] and together.ci[1] > alone.ci[1]
    assert together.ci[1] - together.ci[0] == pytest.approx(2**0.5 * (alone.ci[1] - alone.ci[0]), rel=0.02)


def test_changes_that_cancel_within_pictures_are_surer():
    before = [True, False] * 20
    alone = paired_change(before, [False, True] * 20, range(40))
    assert paired_change(before, [False, True] * 20, [k // 2 for k in range(40)]).ci == (0, 0)
    assert alone.ci[0] < 0 < alone.ci[1]


def test_of_nothing_nothing_is_known():
    assert paired_change([], [], []).ci == (-1, 1) and paired_change([True], [True], [0]).ci == (-1, 1)


@pytest.mark.parametrize(
    ("fixed", "broken", "p"), [(0, 0, 1), (5, 5, 1), (6, 0, 0.03125), (1, 9, 0.021484375)]
)
def test_mcnemar_of_known_tables(fixed, broken, p):
    assert mcnemar(fixed, broken) == pytest.approx(p)


def test_marks_of_other_questions_are_refused():
    with pytest.raises(ValueError):
        paired_change([True], [True, False], [0])
