"""How the paper's released script marks an answer, quirks included, to set a run beside the paper's tables.

The figures to believe are those of marks.py: these rules take part of a word for the word, and let a failing program
be right by chance. Whatever raises inside a comparison is wrong there, and here.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from valor_ray.measure.answers import MRA_THRESHOLDS

_ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # that answers of any type cause


class PaperRule(StrEnum):
    NONE = ""  # the paper does not measure it, or not by rule
    OMNI3D_INT = "omni3d_int"
    OMNI3D_FLOAT = "omni3d_float"
    OMNI3D_TEXT = "omni3d_text"
    YES_ELSE_NO = "yes_else_no"  # RoboSpatial-Home
    BLINK = "blink"
    VSR = "vsr"
    PART_OF_TRUTH = "part_of_truth"  # RealWorldQA
    INT_OR_ZERO = "int_or_zero"  # TallyQA
    INT = "int"  # CountBenchQA


def paper_mark(rule: str, answer: Any, truth: Any) -> float | None:
    """0..1; None where the paper has no rule. answer: as the program left it; None: it left none."""
    mark = _RULES.get(PaperRule(rule))
    if mark is None:
        return None
    try:
        return float(mark(answer, truth))
    except _ODD:
        return 0.0


def _omni3d_int(answer: Any, truth: Any) -> bool:
    return int(_said(answer)) == int(truth)


def _omni3d_float(answer: Any, truth: Any) -> float:
    """By the truth with its sign: of a negative one every number is within every threshold."""
    right = float(truth)
    error = abs(right - float(_said(answer))) / right
    return sum(error < threshold for threshold in MRA_THRESHOLDS) / len(MRA_THRESHOLDS)


def _omni3d_text(answer: Any, truth: str) -> bool:
    said = _said(answer)
    if truth in ("S", "E", "N", "W"):
        return bool(said[0] == truth)
    return truth in said.lower() or said.lower() in truth


def _said(answer: Any) -> Any:
    return ("yes" if answer else "no") if isinstance(answer, bool) else answer


def _yes_else_no(answer: Any, truth: str) -> bool:
    return ("yes" if _holds_yes(answer) else "no") == truth


def _vsr(answer: Any, truth: str) -> bool:
    said = int(_holds_yes(answer)) if isinstance(answer, bool | str) else answer
    return bool(said == int(truth == "yes"))


def _holds_yes(answer: Any) -> bool:
    if isinstance(answer, str):
        return "yes" in answer.lower() or "true" in answer.lower()
    return answer is True


def _blink(answer: Any, truth: str) -> bool:
    try:
        said = str(int(answer))
    except _ODD:
        said = str(answer).lower()
    return said == truth


def _part_of_truth(answer: Any, truth: Any) -> bool:
    return str(answer).rstrip(".,").lower() in str(truth).rstrip(".,").lower()


def _int_or_zero(answer: Any, truth: Any) -> bool:
    return int(answer or 0) == int(truth)


def _int(answer: Any, truth: int) -> bool:
    return int(answer) == truth


_RULES: dict[PaperRule, Callable[[Any, Any], bool | float]] = {
    PaperRule.OMNI3D_INT: _omni3d_int,
    PaperRule.OMNI3D_FLOAT: _omni3d_float,
    PaperRule.OMNI3D_TEXT: _omni3d_text,
    PaperRule.YES_ELSE_NO: _yes_else_no,
    PaperRule.BLINK: _blink,
    PaperRule.VSR: _vsr,
    PaperRule.PART_OF_TRUTH: _part_of_truth,
    PaperRule.INT_OR_ZERO: _int_or_zero,
    PaperRule.INT: _int,
}
