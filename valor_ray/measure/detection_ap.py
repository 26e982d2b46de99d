"""Average precision of boxes, as COCO defines it (101 recall points, IoU 0.50 to 0.95)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True)
class Boxes:
    """Boxes of one class in one picture."""

    corners: np.ndarray  # (boxes, 4)
    scores: np.ndarray  # (boxes,); unused for true boxes


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every box of a (n, 4) with every box of b (m, 4)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inner = sides.clip(min=0).prod(-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(-1), (b[:, 2:] - b[:, :2]).prod(-1)
    return np.asarray(inner / np.maximum(area_a[:, None] + area_b[None] - inner, 1e-9))


def _right(detected: np.ndarray, true: np.ndarray, threshold: float) -> np.ndarray:
    """Which of the detected boxes, best score first, claim a true box that no better one has claimed."""
    right = np.zeros(len(detected), bool)
    if len(true) == 0 or len(detected) == 0:
        return right
    overlap = iou_matrix(detected, true)
    free = np.ones(len(true), bool)
    for row in range(len(detected)):
        best = int(np.argmax(np.where(free, overlap[row], -1)))
        if free[best] and overlap[row, best] >= threshold:
            free[best], right[row] = False, True
    return right


def average_precision(detected: Sequence[Boxes], true: Sequence[Boxes], threshold: float) -> float:
    """AP of one class over pictures at one IoU threshold; nan when no true box exists."""
    total = sum(len(boxes.corners) for boxes in true)
    if total == 0:
        return float("nan")
    scores, hits = [], []
    for boxes, truth in zip(detected, true, strict=True):
        order = np.argsort(-boxes.scores, kind="stable")
        scores.append(boxes.scores[order])
        hits.append(_right(boxes.corners[order], truth.corners, threshold))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.cumsum(np.concatenate(hits)[order])
    if len(right) == 0:
        return 0.0
    precision = right / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / total, np.linspace(0, 1, 101), side="left")
    return float(
        np.where(places < len(precision), precision[np.minimum(places, len(precision) - 1)], 0).mean()
    )


def mean_ap(detected: Sequence[Sequence[Boxes]], true: Sequence[Sequence[Boxes]]) -> tuple[float, float]:
    """(AP50, mAP 0.50:0.95) in 0..1 over classes that occur; arguments are [class][picture]."""
    table = np.array(
        [[average_precision(d, t, iou) for iou in IOUS] for d, t in zip(detected, true, strict=True)]
    )
    return float(np.nanmean(table[:, 0])), float(np.nanmean(table))
