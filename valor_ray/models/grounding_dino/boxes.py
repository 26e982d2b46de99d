"""From GroundingDINO's token scores and boxes to detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valor_ray.models.grounding_dino.phrases import Caption
from valor_ray.records import Detection

NMS_IOU = 0.7  # of two boxes of one phrase that overlap more, the weaker is dropped


@dataclass(frozen=True)
class Thresholds:
    box: float  # for the best word of a phrase, as in the paper
    text: float  # for the mean over the words of a phrase


def phrase_scores(chances: np.ndarray, caption: Caption) -> tuple[np.ndarray, np.ndarray]:
    """Token scores (queries, tokens) -> best and mean over each phrase's own tokens, both (queries, phrases), 0..1."""
    best = np.stack([chances[:, start:stop].max(1) for start, stop in caption.spans], 1)
    mean = np.stack([chances[:, start:stop].mean(1) for start, stop in caption.spans], 1)
    return best, mean


def caption_detections(
    chances: np.ndarray, boxes: np.ndarray, caption: Caption, size: tuple[int, int], thresholds: Thresholds
) -> list[Detection]:
    """Detections of one caption in one picture, each box under the phrase whose words it fits best.

    chances (queries, tokens); boxes (queries, 4), corners in pixels; size (width, height) to which boxes are clipped.
    """
    best, mean = phrase_scores(chances, caption)
    winner = mean.argmax(1)
    rows = np.arange(len(winner))
    kept = (best[rows, winner] >= thresholds.box) & (
        mean[rows, winner] >= min(thresholds.text, thresholds.box)
    )
    width, height = size
    boxes = boxes.clip(0, [width, height, width, height])
    kept &= (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    detections = []
    for place, phrase in enumerate(caption.phrases):
        mine = np.flatnonzero(kept & (winner == place))
        mine = mine[np.argsort(-best[mine, place], kind="stable")]
        for row in mine[unsuppressed(boxes[mine])]:
            x1, y1, x2, y2 = (float(side) for side in boxes[row])
            detections.append(Detection((x1, y1, x2, y2), phrase, float(best[row, place])))
    return detections


def unsuppressed(boxes: np.ndarray) -> np.ndarray:
    """Indices of the boxes, best first, that no kept better box covers (greedy NMS)."""
    kept: list[int] = []
    for row in range(len(boxes)):
        if all(_iou(boxes[row], boxes[other]) <= NMS_IOU for other in kept):
            kept.append(row)
    return np.array(kept, int)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    inner = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))
