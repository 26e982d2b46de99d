from typing import Any

import pytest

from valor_ray.untrusted.cut import cut, cut_arguments


@pytest.mark.parametrize(
    "value", [None, True, 1.5, 7, "sofa", [1, 2, 3, 4], {"crop": [1, 2, 3, 4]}, "x" * 200]
)
def test_short_values_stay(value: Any) -> None:
    assert cut(value) == value


def test_of_long_ones_the_start_or_the_kind_is_said() -> None:
    assert cut("x" * 5000) == "x" * 180 + "… (5,000 characters)"
    assert cut([[]] * 5000) == "(a list of 5,000, 20,000 characters of JSON)"
    assert cut({"a": "b" * 300}) == "(a dict of 1, 309 characters of JSON)"
    assert cut(10**300) == "(a long number)"


def test_of_many_arguments_the_first_are_kept() -> None:
    assert len(cut_arguments({str(number): 1 for number in range(100)})) == 8
    assert cut_arguments({"n" * 100: "x" * 300}) == {"n" * 40: "x" * 182 + "… (300 characters)"}


def test_what_is_cut_is_short_and_cutting_it_again_changes_nothing() -> None:
    for value in ("x" * 201, "é" * 5000, "y" * 10**6, [1] * 5000, {"a": "b" * 500}, 10**400, "short", [1, 2]):
        once = cut(value)
        assert cut(once) == once and len(str(once)) <= 200
