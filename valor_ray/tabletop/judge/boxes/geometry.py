"""Places of boxes: where a box's object lies, and how much two boxes overlap."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels


def placed(box: Sequence[float], inner: Box) -> Box:
    """A box given in units of another, in that one's pixels: (0, 0, 1, 1) is the other box itself."""
    wide, tall = box[2] - box[0], box[3] - box[1]
    x1, y1, x2, y2 = inner
    return box[0] + x1 * wide, box[1] + y1 * tall, box[0] + x2 * wide, box[1] + y2 * tall


def clipped(box: Box, width: int, height: int) -> Box:
    """Its edges moved into a picture."""
    return max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3])


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    both = wide * tall
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
