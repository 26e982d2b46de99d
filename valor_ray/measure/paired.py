"""Is a change of marks more than chance, when the same questions are asked twice and pictures are shared."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from valor_ray.measure.bootstrap import Marked, means

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


@dataclass(frozen=True)
class PairedMarks:
    """Means 0..1 of marks of the same questions."""

    before: float
    after: float
    gain: float
    ci: tuple[float, float]  # 95 %, of the gain: paired bootstrap over pictures; (-1, 1) for fewer than two
    p: float  # two-sided; McNemar's exact test knows no pictures, the bootstrap's, of fractions, does
    test: str  # "mcnemar" or "bootstrap"
    fixed: int  # marked higher after
    broken: int
    visible: float  # the smallest gain that a set of this size shows: two-sided 5 %, power 80 %
    discordant: float  # mean squared change that `visible` reckons with: at least LEAST_DISCORDANT


LEAST_DISCORDANT = 0.05
_POWER = (1.959964 + 0.841621) ** 2  # two-sided 5 %, 80 %


def paired_marks(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[Hashable]
) -> PairedMarks:
    """From marks 0..1 of the same questions in the same order, and the picture that each is about. Of one at least.

    Raises ValueError when the lengths differ.
    """
    changes = [now - then for then, now in zip(before, after, strict=True)]
    fixed, broken = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    whole = all(mark in (0, 1) for mark in (*before, *after))
    n, gain = len(changes), sum(changes) / len(changes)
    ci, p = (-1.0, 1.0), 1.0
    if len(set(clusters)) > 1:
        drawn = means(Marked(changes, clusters))
        low, high = np.percentile(drawn, (2.5, 97.5))
        ci = float(low), float(high)
        tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
        p = min(1.0, 2 * (int(tail) + 1) / (len(drawn) + 1))
    discordant = max(sum(change**2 for change in changes) / n, LEAST_DISCORDANT)
    return PairedMarks(
        before=sum(before) / n,
        after=sum(after) / n,
        gain=gain,
        ci=ci,
        p=mcnemar(fixed, broken) if whole else p,
        test="mcnemar" if whole else "bootstrap",
        fixed=fixed,
        broken=broken,
        visible=smallest_visible(n / _design_effect(changes, clusters), discordant),
        discordant=discordant,
    )


def smallest_visible(n: float, discordant: float) -> float:
    """The gain 0..1 that n independent pairs show with power 80 %, of which `discordant` differ (Miettinen's size).

    Where no gain within so few differing pairs would do: the one that shows when all pairs that differ do so one way.
    """
    least = _POWER / (n + _POWER)
    return least if least > discordant else math.sqrt(least * discordant)


def _design_effect(changes: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """How many questions are worth one, as pictures are shared; at least 1."""
    gain = sum(changes) / len(changes)
    residues: dict[Hashable, float] = {}
    for change, cluster in zip(changes, clusters, strict=True):
        residues[cluster] = residues.get(cluster, 0.0) + change - gain
    alone = sum((change - gain) ** 2 for change in changes)
    return max(1.0, sum(each**2 for each in residues.values()) / alone) if alone else 1.0


def mcnemar(fixed: int, broken: int) -> float:
    """Two-sided p of so many changes for the better and for the worse, were both equally likely (exact binomial)."""
    n, fewer = fixed + broken, min(fixed, broken)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    return min(1.0, 2 * tail)
