"""The strict mark of an answer, 0..1, by the metric that a question asks for. The paper's own rules: paper_rules.py."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from valor_ray.measure.answers import (
    choice_match,
    int_match,
    is_right,
    mean_relative_accuracy,
    number,
    word_or_number_match,
    yes_no_match,
)


class Metric(StrEnum):
    BY_TYPE = ""  # of the truth (answers.is_right)
    INT = "int"
    YES_NO = "yes_no"
    OPTION = "option"
    WORD_OR_NUMBER = "word_or_number"  # also zero to twenty as words
    MRA = "mra"  # the one that gives fractions


def strict_mark(metric: str, answer: Any, truth: Any, options: Sequence[str] = ()) -> float:
    """No answer, and one of another kind than the truth, is 0.

    options: of the question, in the order of their letters. Raises ValueError for a metric that there is not.
    """
    match Metric(metric):
        case Metric.BY_TYPE:
            return float(is_right(answer, truth))
        case Metric.INT:
            right = number(truth)
            return float(right is not None and int_match(answer, int(right)))
        case Metric.YES_NO:
            return float(yes_no_match(answer, truth))
        case Metric.OPTION:
            return float(choice_match(answer, str(truth), options))
        case Metric.WORD_OR_NUMBER:
            return float(word_or_number_match(answer, str(truth)))
        case Metric.MRA:
            right = number(truth)
            return 0.0 if right is None else mean_relative_accuracy(answer, right)
