"""How sure an average precision is, and its change on the same pictures: bootstrap over pictures.

Boxes are matched to truth once (`marks`); a resample only weighs pictures. A picture that is drawn k times counts as k
pictures with the same boxes, so each resample's AP is what `detection_ap` gives of the drawn pictures (where boxes of
one picture and class have one score, their order is arbitrary there too).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valor_ray.measure.detection_ap import IOUS, Boxes, iou_matrix

_GRID = np.linspace(0, 1, 101)  # recall points, as COCO's
_AT_ONCE = 100  # resamples in memory together: 8 bytes x boxes of a class each


@dataclass(frozen=True)
class ClassMarks:
    """The boxes of one class in all pictures, best score first."""

    cluster: np.ndarray  # int (boxes,): whose picture
    right: tuple[np.ndarray, ...]  # of each of IOUS the places of the boxes that claim a true one, rising
    true: np.ndarray  # int (clusters,): true boxes


@dataclass(frozen=True)
class Marks:
    """What AP needs of a detector's boxes; thousands of resamples read it."""

    classes: tuple[ClassMarks, ...]
    clusters: int


@dataclass(frozen=True)
class Change:
    """Of a mean AP, in the unit of the table (0..1)."""

    before: float
    after: float
    gain: float
    ci: tuple[float, float]  # 95 %, of the gain


def marks(
    detected: Sequence[Sequence[Boxes]],
    true: Sequence[Sequence[Boxes]],
    clusters: Sequence[int] | None = None,
) -> Marks:
    """Match boxes to truth, once. detected, true: [class][picture]; clusters: of each picture a number from 0 on, the
    same for pictures that are drawn together (None: each alone)."""
    pictures = len(true[0]) if true else 0
    of = np.arange(pictures) if clusters is None else np.asarray(clusters, int)
    count = int(of.max()) + 1 if pictures else 0
    return Marks(tuple(_class_marks(d, t, of, count) for d, t in zip(detected, true, strict=True)), count)


def _class_marks(detected: Sequence[Boxes], true: Sequence[Boxes], of: np.ndarray, count: int) -> ClassMarks:
    scores, hits, owners = [], [], []
    for boxes, truth, owner in zip(detected, true, of, strict=True):
        order = np.argsort(-boxes.scores, kind="stable")
        scores.append(boxes.scores[order])
        hits.append(_claims(boxes.corners[order], truth.corners))
        owners.append(np.full(len(order), owner))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.concatenate(hits)[order]
    total = np.zeros(count, int)
    np.add.at(total, of, [len(truth.corners) for truth in true])
    return ClassMarks(
        np.concatenate(owners)[order], tuple(np.flatnonzero(right[:, k]) for k in range(len(IOUS))), total
    )


def _claims(detected: np.ndarray, true: np.ndarray) -> np.ndarray:
    """bool (boxes, IOUS): which boxes, best first, claim a true box that no better one has claimed."""
    right = np.zeros((len(detected), len(IOUS)), bool)
    if not len(detected) or not len(true):
        return right
    overlap, least, rows = iou_matrix(detected, true), np.array(IOUS), np.arange(len(IOUS))
    free = np.ones((len(IOUS), len(true)), bool)
    for box in np.flatnonzero(overlap.max(1) >= IOUS[0]):
        best = np.where(free, overlap[box], -1).argmax(1)
        right[box] = free[rows, best] & (overlap[box, best] >= least)
        free[rows[right[box]], best[right[box]]] = False
    return right


def draws(clusters: int, resamples: int, seed: int = 0) -> np.ndarray:
    """int (resamples, clusters): how often each is drawn. Two detectors compare on the same draws only."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), resamples)


def table(marked: Marks, drawn: np.ndarray | None = None) -> np.ndarray:
    """AP 0..1, (resamples, classes, IOUS); nan where a class has no true box. drawn: of `draws`; None: one row, as it
    is. Blocks for about a second for 1,000 resamples of 30,000 boxes."""
    weights = np.ones((1, marked.clusters), int) if drawn is None else drawn
    parts = [
        np.stack([_class_table(each, weights[start : start + _AT_ONCE]) for each in marked.classes], 1)
        for start in range(0, len(weights), _AT_ONCE)
    ]
    return np.concatenate(parts)


def _class_table(each: ClassMarks, weights: np.ndarray) -> np.ndarray:
    """(resamples, IOUS)"""
    total = weights @ each.true
    drawn = weights[:, each.cluster]
    seen = np.cumsum(drawn, 1)
    made = np.full((len(weights), len(IOUS)), np.nan)
    for k, places in enumerate(each.right):
        right = np.cumsum(drawn[:, places], 1)
        made[:, k] = _average(right, seen[:, places], np.maximum(total, 1))
    made[total == 0] = np.nan
    return made


def _average(right: np.ndarray, seen: np.ndarray, total: np.ndarray) -> np.ndarray:
    """AP by resample. right, seen: (resamples, right boxes) counts up to each of them, it included; total: (resamples,)

    Precision can only fall between two right boxes, so these alone decide.
    """
    if not right.shape[1]:
        return np.zeros(len(right))
    precision = right / np.maximum(seen, 1)
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    reached = np.searchsorted(_GRID, right / total[:, None], side="right")
    return (best * np.diff(reached, axis=1, prepend=0)).sum(1) / len(_GRID)


def means(made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(AP50, mAP) of a table, each (resamples,), over the classes that occur in the resample; nan where none does."""
    there = ~np.isnan(made[:, :, 0])
    count = np.maximum(there.sum(1), 1)
    filled = np.where(there[:, :, None], made, 0)
    none = ~there.any(1)
    ap50, full = filled[:, :, 0].sum(1) / count, filled.mean(2).sum(1) / count
    ap50[none], full[none] = np.nan, np.nan
    return ap50, full


def change(before: float, after: float, gains: np.ndarray) -> Change:
    """gains: (resamples,), after - before on each draw. The interval holds 95 % of them, and is (-1, 1) where there is
    none."""
    gains = gains[~np.isnan(gains)]
    low, high = np.percentile(gains, (2.5, 97.5)) if len(gains) else (-1.0, 1.0)
    return Change(before, after, after - before, (float(low), float(high)))
