from __future__ import annotations

import math

import pytest

from valor_ray.measure.answers import is_right, mean_relative_accuracy, normalise


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("yes", "yes"), ("Yes.", "yes"), (True, "yes"), (False, "no"), ("false", "no"), ("no", False), ("YES", True),
        (2, 2), (2.0, 2), ("2", 2), (0, 0), (-3, -3),
        (36.0, 30.0), (24.0, 30.0), ("31.5", 30.0), (30, 30.0), (-36.0, -30.0), (0.0, 0.0),
        ("red", "red"), ("the Red Ball", "red ball"), ('"red ball".', "red ball"), ("{red ball}", "red ball"),
    ],
)  # fmt: skip
def test_right_answers_are_right(answer: object, truth: object) -> None:
    assert is_right(answer, truth)


@pytest.mark.parametrize("truth", ["yes", "no", "red", "red ball", 0, 1, 2, 0.0, 1.5, True, False])
@pytest.mark.parametrize(
    "answer", ["", " ", "...", None, [], {}, "unknown", "cannot tell", math.nan, "nan", math.inf]
)
def test_missing_or_empty_answer_is_never_right(answer: object, truth: object) -> None:
    assert not is_right(answer, truth)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("unknown", "no"), ("none", "no"), ("not sure", "no"), (0, "no"), (1, "yes"), ("yes and no", "yes"),
        (2.9, 2), (2.1, 2), ("2 or 3", 2), (True, 1), (False, 0), ("two", 3), (10**400, 2),
        (36.1, 30.0), (23.9, 30.0), (-30.0, 30.0), (True, 1.0), (0.1, 0.0),
        (5.0, -30.0), (-23.0, -30.0), (30.0, -30.0),
        ("red", "red ball"), ("red ball or blue ball", "red ball"), ("a", "cat"), (1, "red"), (["red"], "red"),
    ],
)  # fmt: skip
def test_near_misses_are_wrong(answer: object, truth: object) -> None:
    assert not is_right(answer, truth)


def test_tolerance_can_be_set() -> None:
    assert is_right(33.0, 30.0, tolerance=0.1) and not is_right(33.1, 30.0, tolerance=0.1)


def test_normalise_keeps_words_that_only_look_like_articles() -> None:
    assert normalise("An apple!") == "apple" and normalise("a") == "a" and normalise("theatre") == "theatre"


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        (10.0, 10.0, 1.0), (10.0, -10.0, 0.0), (-10.0, -10.0, 1.0), (-9.0, -10.0, 0.8), (20.0, 10.0, 0.0),
        (None, 10.0, 0.0), ("unknown", -10.0, 0.0), (0.0, 0.0, 1.0), (0.1, 0.0, 0.0), (15.0, 10.0, 0.0),
    ],
)  # fmt: skip
def test_mean_relative_accuracy(answer: object, truth: float, score: float) -> None:
    assert mean_relative_accuracy(answer, truth) == pytest.approx(score)
