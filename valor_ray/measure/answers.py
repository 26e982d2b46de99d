"""When an answer is right. A missing answer is never right."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

TOLERANCE = 0.20  # relative error up to which a size, distance or ratio counts as right
MRA_THRESHOLDS = tuple(step / 100 for step in range(50, 0, -5))  # Omni3D-Bench: 0.5, 0.45, … 0.05


def is_right(answer: Any, truth: str | int | float | bool, tolerance: float = TOLERANCE) -> bool:
    """The metric by the truth's type: yes/no, int, options exact; float within `tolerance` (relative)."""
    if isinstance(truth, bool) or truth in ("yes", "no"):
        return yes_no_match(answer, truth)
    if isinstance(truth, int):
        return int_match(answer, truth)
    if isinstance(truth, float):
        return float_match(answer, truth, tolerance)
    return option_match(answer, truth)


def normalise(text: str) -> str:
    """Case, width forms, spaces, closing punctuation, quotes, braces and a leading article do not matter."""
    plain = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    plain = plain.strip(" .,;:!?\"'`“”‘’{}[]()")
    return re.sub(r"^(?:an?|the) (?=\w)", "", plain)


def number(answer: Any) -> float | None:
    """The finite number that an answer is or spells in digits; None for anything else (booleans included)."""
    if isinstance(answer, str):
        try:
            answer = float(answer.strip())
        except ValueError:
            return None
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return None
    try:
        value = float(answer)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def int_match(answer: Any, truth: int) -> bool:
    """2 and 2.0 and "2" are 2; 2.9 is not."""
    value = number(answer)
    return value is not None and value == truth


def float_match(answer: Any, truth: float, tolerance: float) -> bool:
    """|answer − truth| ≤ tolerance × |truth|: a negative truth is as hard as a positive one, 0 must be met exactly."""
    value = number(answer)
    return value is not None and abs(value - truth) <= tolerance * abs(truth)


def yes_no_match(answer: Any, truth: str | bool) -> bool:
    """True and "true" are yes. Anything that is neither yes nor no ("unknown", no answer) is wrong for both."""
    said = _yes_no(answer)
    return said is not None and said == _yes_no(truth)


def _yes_no(answer: Any) -> bool | None:
    if isinstance(answer, str):
        return {"yes": True, "true": True, "no": False, "false": False}.get(normalise(answer))
    return answer if isinstance(answer, bool) else None


def option_match(answer: Any, truth: str) -> bool:
    """Equal after `normalise`: being part of the other is not enough, and the empty answer matches nothing."""
    if not isinstance(answer, str):
        return False
    said = normalise(answer)
    return bool(said) and said == normalise(truth)


def mean_relative_accuracy(answer: Any, truth: float) -> float:
    """Share of MRA_THRESHOLDS t with |truth − answer| / |truth| < t (Omni3D-Bench). Truth 0 must be met exactly."""
    value = number(answer)
    if value is None:
        return 0.0
    if truth == 0:
        return float(value == 0)
    error = abs(truth - value) / abs(truth)
    return sum(error < threshold for threshold in MRA_THRESHOLDS) / len(MRA_THRESHOLDS)
