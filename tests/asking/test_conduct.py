"""What kept a reply from an answer, and the writers' habits, told from the public shape alone."""

from __future__ import annotations

from typing import Any

import pytest

from valor_ray.asking.conduct import Failure, Habit, failure_of, habits_of

CALL = {"tool": "gd_detect", "args": {}, "result": [], "ms": 1.0, "line": 1, "error": None}
REFUSED = CALL | {"error": "gd_detect: prompt is empty", "result": None}
MALFORMED = "The policy's reply is malformed: there is no <plan> block."


def ended(status: str) -> str:
    return f"The program ended with status {status} in line 2: no"


@pytest.mark.parametrize(
    ("shown", "failure"),
    [
        ({"answer": 3, "error": None, "trace": [CALL]}, None),
        ({"error": MALFORMED, "trace": []}, Failure.FORMAT),
        ({"error": ended("error"), "trace": [CALL, REFUSED]}, Failure.TOOL),
        ({"error": ended("error"), "trace": [REFUSED, CALL]}, Failure.PROGRAM),  # it had gone on
        ({"error": ended("error"), "trace": []}, Failure.PROGRAM),
        ({"error": ended("error")}, Failure.PROGRAM),  # a candidate over HTTP has no trace
        ({"error": ended("timeout"), "trace": [REFUSED]}, Failure.PROGRAM),
        ({"error": ended("rejected")}, Failure.PROGRAM),
        ({"error": "words of another server"}, Failure.PROGRAM),
    ],
)
def test_failures_are_told_apart(shown: dict[str, Any], failure: Failure | None) -> None:
    assert failure_of(shown) == failure


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        ("unknown", True), ("Cannot be determined from the picture", True), ("I'm unable to tell", True),
        ("N/A", True), ("not visible", True), ("no image given", True), ("no", False), ("not the red one", False),
        ("canned food", False), ("soy sauce", False), ("nothing", False), (0, False), (None, False),
    ],
)  # fmt: skip
def test_answers_that_declare_a_question_impossible(answer: object, refuses: bool) -> None:
    found = habits_of({"answer": answer, "error": None, "trace": [CALL]})
    assert (Habit.REFUSES in found) == refuses


def test_a_reply_without_program_may_refuse_and_a_failed_program_does_not() -> None:
    said = {"error": MALFORMED, "trace": []}
    assert habits_of(said | {"reply": " I cannot see the picture, so"}) == (Habit.REFUSES,)
    assert habits_of(said | {"reply": "<plan>Look"}) == habits_of(said) == ()
    assert habits_of({"error": ended("error"), "answer": "unknown", "trace": []}) == ()


def test_an_answer_without_a_tool_is_told_where_there_is_a_trace() -> None:
    assert habits_of({"answer": 2, "error": None, "trace": []}) == (Habit.NO_TOOL,)
    assert habits_of({"answer": 2, "error": None}) == ()


@pytest.mark.parametrize(
    ("code", "overwrites"),
    [
        ('img_pth = "kitchen.jpg"\nfinal_answer = 1', True),
        ('if True:\n    img_pth: str = "a"', True),
        ("for img_pth in [1]:\n    pass", True),
        ("(img_pth := 3)", True),
        ('gd_detect(img_pth, "cup")', False),
        ("def f(img_pth):\n    return img_pth", False),
        ('gd_detect(img_pth="x", prompt="cup")', False),
        ("# img_pth = 3\nfinal_answer = 1", False),
        ("img_pth = (", False),
        ("img_pth = " + "(" * 500 + ")" * 500, False),
    ],
)
def test_programs_that_bind_the_picture_s_name(code: str, overwrites: bool) -> None:
    found = habits_of({"answer": 1, "error": None, "trace": [CALL], "code": code})
    assert (Habit.OVERWRITES in found) == overwrites
