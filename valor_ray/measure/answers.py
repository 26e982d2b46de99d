"""When an answer is right, and how sure a share of right answers is. A missing answer is never right."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

TABLETOP_TOLERANCE = (
    0.20  # relative error up to which a size, distance or ratio on the tabletop counts as right
)
MRA_THRESHOLDS = tuple(step / 100 for step in range(50, 0, -5))  # Omni3D-Bench: 0.5, 0.45, … 0.05
_Z95 = 1.959964  # two-sided 95 % point of the normal distribution


def is_right(answer: Any, truth: str | int | float | bool, tolerance: float = TABLETOP_TOLERANCE) -> bool:
    """The tabletop's metric by the truth's type: yes/no, int, options exact; float within `tolerance` (relative)."""
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


def wilson(right: float, n: int) -> tuple[float, float]:
    """95 % interval of a share, from `right` (a count, or a sum of scores 0..1) out of n. (0, 1) when n is 0."""
    if n == 0:
        return 0.0, 1.0
    share, spread = right / n, _Z95**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = _Z95 * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(before: Sequence[bool], after: Sequence[bool]) -> tuple[float, float]:
    """95 % interval of the change of a share, from marks of the same questions in the same order.

    The mean of d = after − before, ± 1.96 standard errors (normal approximation: meant for 30 questions or more).
    (-1, 1) for fewer than two questions. Raises ValueError when the lengths differ.
    """
    changes = [int(now) - int(then) for then, now in zip(before, after, strict=True)]
    n = len(changes)
    if n < 2:
        return -1.0, 1.0
    mean = sum(changes) / n
    half = _Z95 * math.sqrt(sum((change - mean) ** 2 for change in changes) / (n - 1) / n)
    return max(-1.0, mean - half), min(1.0, mean + half)
