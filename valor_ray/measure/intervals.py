"""How sure a share of right answers is, and its change on the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence

_Z95 = 1.959964  # two-sided 95 % point of the normal distribution


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
