"""Which answers say the same, and how many."""

import pytest

from valor_ray.selecting.agreement import same, votes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (2, 2.0),
        (2, "2"),
        (True, "yes"),
        ("Yes.", "yes"),
        ("false", "no"),
        ("The red box", "red box"),
        (1.50, 1.55),
        ([1, 2], [1, 2]),
    ],
)
def test_say_the_same(one, other):
    assert same(one, other) and same(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [(2, 3), (2.0, 2.4), (True, False), ("left", "right"), (1, True), (0, "no"), ([1], [2])]
)
def test_say_different_things(one, other):
    assert not same(one, other) and not same(other, one)


def test_no_answer_has_no_vote():
    assert votes([None, "yes", None, True, "no"]) == [0, 2, 0, 2, 1]


def test_a_hundred_million_is_not_a_hundred_million_and_one():
    assert votes([100_000_000, 100_000_001]) == [1, 1]
