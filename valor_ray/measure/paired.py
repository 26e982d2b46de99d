"""Is a change of right answers more than chance, when the same questions are asked twice and pictures are shared."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

_Z95 = 1.959964  # two-sided 95 % point of the normal distribution


@dataclass(frozen=True)
class PairedChange:
    """Shares 0..1 of the same questions."""

    n: int
    before: float
    after: float
    gain: float
    ci: tuple[float, float]  # 95 %, of the gain, clustered; (-1, 1) for fewer than two clusters
    fixed: int  # wrong before, right after
    broken: int  # right before, wrong after
    p: float  # McNemar's exact test, two-sided; knows no clusters


def paired_change(
    before: Sequence[bool], after: Sequence[bool], clusters: Sequence[Hashable]
) -> PairedChange:
    """From marks of the same questions in the same order, and the picture that each is about.

    The mean of d = after - before, +- 1.96 standard errors; these from the sums of d by cluster (normal approximation:
    meant for 30 clusters or more). Raises ValueError when the lengths differ.
    """
    rows = [
        (int(now) - int(then), cluster) for then, now, cluster in zip(before, after, clusters, strict=True)
    ]
    n = len(rows)
    if n == 0:
        return PairedChange(0, 0.0, 0.0, 0.0, (-1.0, 1.0), 0, 0, 1.0)
    gain = sum(change for change, _ in rows) / n
    residues: dict[Hashable, float] = {}
    for change, cluster in rows:
        residues[cluster] = residues.get(cluster, 0.0) + change - gain
    many = len(residues)
    ci = (-1.0, 1.0)
    if many > 1:
        half = _Z95 * math.sqrt(sum(each**2 for each in residues.values()) * many / (many - 1)) / n
        ci = max(-1.0, gain - half), min(1.0, gain + half)
    fixed, broken = (sum(change == side for change, _ in rows) for side in (1, -1))
    return PairedChange(n, sum(before) / n, sum(after) / n, gain, ci, fixed, broken, mcnemar(fixed, broken))


def mcnemar(fixed: int, broken: int) -> float:
    """Two-sided p of so many changes for the better and for the worse, were both equally likely (exact binomial)."""
    n, fewer = fixed + broken, min(fixed, broken)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    return min(1.0, 2 * tail)
