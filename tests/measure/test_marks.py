"""The strict mark of what programs return, for every metric and for truths as the public sets hold them."""

import pytest

from valor_ray.measure.answers import distinct, is_right, typed
from valor_ray.measure.marks import Metric, strict_mark


@pytest.mark.parametrize(
    ("text", "is_"),
    [
        ("2", 2), (" 2 ", 2), ("2.", 2), ("+2", 2), ("-3", -3), ("\N{MINUS SIGN}3", -3), ("２", 2), ("1,200", 1200),
        ("0.75", 0.75), ("2.0", 2.0), ("1,200.5", 1200.5), ("1e3", 1000.0), (".5", 0.5),
        ("True", True), ("yes", True), ("Yes.", True), ("FALSE", False), ("no", False),
        ("red", "red"), ("two", "two"), ("12:30", "12:30"), ("1/2", "1/2"), ("3 cups", "3 cups"), ("N", "N"),
        ("nan", "nan"), ("inf", "inf"), ("unknown", "unknown"), ("", ""), ("1,20", "1,20"),
        (2, 2), (0.5, 0.5), (True, True),
    ],
)  # fmt: skip
def test_truth_as_text_is_what_it_spells(text: object, is_: object) -> None:
    assert typed(text) == is_ and type(typed(text)) is type(is_)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        (2, "2"), (2.0, "2"), ("2", "2"), (0.75, "0.75"), (0.8, "0.75"), ("0.75", "0.75"), (1200, "1,200"),
        (True, "True"), (True, "Yes"), ("yes", "TRUE"), (False, "False"), (False, "no"), ("No.", "No"), (-3, "-3"),
    ],
)  # fmt: skip
def test_answers_of_the_right_type_are_right_against_truths_stored_as_text(
    answer: object, truth: str
) -> None:
    assert is_right(answer, truth)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        (3, "2"), (2.9, "2"), (True, "1"), (1, "True"), (0, "no"), (None, "False"), ("", "2"), (0.5, "0.75"),
        ("two", "2"),
    ],
)  # fmt: skip
def test_text_does_not_make_wrong_answers_right(answer: object, truth: str) -> None:
    assert not is_right(answer, truth)


OPTIONS = ("Left", "Right lane", "Both")


@pytest.mark.parametrize(
    ("answer", "truth", "options"),
    [
        ("left", "Left", OPTIONS), ("the left", "Left", OPTIONS), ("A. Left", "Left", OPTIONS),
        ("(A) Left", "Left", OPTIONS), ("a) left.", "Left", OPTIONS), ("A: Left", "Left", OPTIONS),
        ("A - Left", "Left", OPTIONS), ("B Right lane", "Right lane", OPTIONS), ("'Both'", "Both", OPTIONS),
        (2, "2", ("1", "2")), (2.0, "2", ("1", "2")), ("2", "2", ("1", "2")), (True, "Yes", ("Yes", "No")),
        (False, "No", ("Yes", "No")), ("a car", "a car", ("a car", "the bus")), ("US", "US", ("US", "us")),
    ],
)  # fmt: skip
def test_option_is_met_by_its_text_with_or_without_its_letter(
    answer: object, truth: str, options: tuple[str, ...]
) -> None:
    assert strict_mark(Metric.OPTION, answer, truth, options) == 1


@pytest.mark.parametrize(
    ("answer", "truth", "options"),
    [
        ("B. Left", "Left", OPTIONS), ("A", "Left", OPTIONS), ("Left or Both", "Left", OPTIONS),
        ("lef", "Left", OPTIONS),
        ("", "Left", OPTIONS), (None, "Left", OPTIONS), ("D. Left", "Left", OPTIONS), (["Left"], "Left", OPTIONS),
        ("us", "US", ("US", "us")), (1, "2", ("1", "2")), (True, "1", ("1", "2")), (False, "Yes", ("Yes", "No")),
        ("A. Right lane", "Right lane", OPTIONS), ("unknown", "No", ("Yes", "No")),
    ],
)  # fmt: skip
def test_other_option_or_no_answer_is_wrong(answer: object, truth: str, options: tuple[str, ...]) -> None:
    assert strict_mark(Metric.OPTION, answer, truth, options) == 0


def test_options_that_only_case_or_article_tells_apart_are_known() -> None:
    assert distinct(OPTIONS) and not distinct(("the US", "us")) and not distinct(("a car", "car."))


@pytest.mark.parametrize(
    ("answer", "truth", "mark"),
    [
        ("three", "3", 1), (3, "3", 1), ("3", "three", 1), ("Twenty", 20, 1), ("zero", "0", 1), ("The Bus", "bus", 1),
        (True, "Yes", 1), (False, "yes", 0), ("thirty", "30", 0), ("bus stop", "bus", 0), ("", "0", 0), (None, "0", 0),
        ("1", "10", 0), ("none", "0", 0),
    ],
)  # fmt: skip
def test_open_answers_are_words_or_numbers(answer: object, truth: object, mark: float) -> None:
    assert strict_mark(Metric.WORD_OR_NUMBER, answer, truth) == mark


@pytest.mark.parametrize("answer", [None, "", "unknown", "cannot tell", "not sure", "none", 0, [], {}])
@pytest.mark.parametrize("truth", ["no", "yes"])
def test_what_is_neither_yes_nor_no_is_wrong_for_both(answer: object, truth: str) -> None:
    assert strict_mark(Metric.YES_NO, answer, truth) == 0


@pytest.mark.parametrize(
    ("answer", "mark"),
    # at the edges: an error of exactly a threshold is not below it
    [
        (10, 1.0), (9.5, 0.9), (9.6, 1.0), (15, 0.0), (14.9, 0.1), (5, 0.0), (5.1, 0.1), ("10", 1.0), (None, 0.0),
        (True, 0.0),
    ],
)  # fmt: skip
def test_numbers_of_omni3d_are_marked_by_thresholds_strictly_below(answer: object, mark: float) -> None:
    assert strict_mark(Metric.MRA, answer, "10.0") == mark


def test_int_takes_text_truths_and_digits() -> None:
    assert [strict_mark(Metric.INT, answer, "3") for answer in (3, "3", 3.0, 3.9, None, True)] == [
        1, 1, 1, 0, 0, 0,
    ]  # fmt: skip
