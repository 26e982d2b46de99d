"""Intervals of means of marks 0..1 whose questions share pictures: bootstrap over pictures, with fixed draws."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from valor_ray.measure.ap_bootstrap import draws
from valor_ray.measure.clustered import clustered
from valor_ray.measure.intervals import wilson

RESAMPLES = 10_000
_AT_ONCE = 1_000  # resamples in memory together: 8 bytes x clusters each


@dataclass(frozen=True)
class Marked:
    """Marks of questions, and the picture that each is about, in one order."""

    marks: Sequence[float]  # 0..1
    clusters: Sequence[Hashable]

    @property
    def mean(self) -> float:
        return sum(self.marks) / len(self.marks) if self.marks else 0.0


def interval(marked: Marked) -> tuple[float, float]:
    """95 % interval of the mean: Wilson's at the effective size for marks of 0 and 1, else the bootstrap's.

    (0, 1) of nothing.
    """
    sums, sizes = _by_cluster(marked)
    if all(mark in (0, 1) for mark in marked.marks):
        return clustered(zip(map(int, sums), map(int, sizes), strict=True))
    if len(sizes) < 2:
        return wilson(marked.mean * len(sizes), len(sizes))
    return _percentiles(means(marked))


def macro_interval(parts: Sequence[Marked]) -> tuple[float, float]:
    """95 % interval of the mean of the parts' means: each part is drawn by itself."""
    if any(len(set(part.clusters)) < 2 for part in parts):
        return 0.0, 1.0
    return _percentiles(np.mean([means(part, seed) for seed, part in enumerate(parts)], axis=0))


def means(marked: Marked, seed: int = 0) -> np.ndarray:
    """float (RESAMPLES,): the mean of each draw of pictures. Marks of the same clusters meet the same draws."""
    sums, sizes = _by_cluster(marked)
    drawn = draws(len(sizes), RESAMPLES, seed)
    return np.concatenate(
        [
            (part @ sums) / (part @ sizes)
            for part in (drawn[start : start + _AT_ONCE] for start in range(0, RESAMPLES, _AT_ONCE))
        ]
    )


def _by_cluster(marked: Marked) -> tuple[np.ndarray, np.ndarray]:
    """Sum of marks and number of questions of each picture, in the order in which they first occur."""
    places: dict[Hashable, int] = {}
    of = np.array([places.setdefault(cluster, len(places)) for cluster in marked.clusters], int)
    sums = np.bincount(of, np.asarray(marked.marks, float), len(places))
    return sums, np.bincount(of, minlength=len(places))


def _percentiles(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)
