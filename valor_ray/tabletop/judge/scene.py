"""Finding the objects of a whole picture: regions of even colour are proposed, the crop network keeps the good ones."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from valor_ray.tabletop.judge.sight import Sight, look_at

_WORKING_SIDE = 256  # px; larger pictures are scaled down, smaller ones up, before regions are sought
_FRAMED = 0.6  # least belief that a proposal frames one object
_PADDING = 0.06  # of the box's sides, as in the crops the network was fitted to
_SAME = 0.45  # overlap (intersection over the smaller box) of two boxes on one object
_WHOLE = 0.15  # how much a larger proposal is preferred
_AREA = (30, 20_000)  # px² at the working size, of a region
_DARK = 30  # added to 0..255 before the logarithm, so that noise in dark channels is no edge
_COLOUR_EDGES = (0.015, 0.025, 0.04, 0.06, 0.1)  # change of the logarithm per pixel
_LIGHT_EDGES = (0.008, 0.015, 0.025, 0.04, 0.07)

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the working picture


@dataclass(frozen=True)
class Seen:
    bbox: Box
    sight: Sight


def working_size(rgb: np.ndarray) -> np.ndarray:
    """The picture with its long side at the working size."""
    scale = _WORKING_SIDE / max(rgb.shape[:2])
    if scale == 1:
        return rgb
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    size = max(8, round(rgb.shape[1] * scale)), max(8, round(rgb.shape[0] * scale))
    return cv2.resize(rgb, size, interpolation=how)


def find_objects(rgb: np.ndarray) -> list[Seen]:
    """The objects in a uint8 picture (height, width, 3), the surest first."""
    picture = working_size(rgb)
    boxes = propose(picture)
    crops = [_crop(picture, box) for box in boxes]
    seen = [
        Seen(box, sight) for box, sight in zip(boxes, look_at(crops), strict=True) if sight.framed > _FRAMED
    ]
    kept: list[Seen] = []
    for one in sorted(seen, key=_worth, reverse=True):
        if all(_shared(one.bbox, other.bbox) < _SAME for other in kept):
            kept.append(one)
    return kept


def propose(picture: np.ndarray) -> list[Box]:
    """Boxes of connected regions without an edge inside, for edges of several strengths in colour and in lightness."""
    smooth = cv2.GaussianBlur(cv2.medianBlur(picture, 3), (3, 3), 0).astype(np.float32)
    logs = np.log(smooth + _DARK)
    # Shading scales all channels alike, so that ratios of channels are even over a solid, shaded or not.
    ratios = np.stack([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]], -1)
    boxes: set[Box] = set()
    for values, strengths in ((ratios, _COLOUR_EDGES), (logs, _LIGHT_EDGES)):
        edges = _edges(values)
        for strength in strengths:
            boxes.update(_regions(edges < strength))
    return sorted(box for box in boxes if _plausible(box, picture))


def _edges(values: np.ndarray) -> np.ndarray:
    """Change per pixel, the largest over the planes (height, width, planes)."""
    across = cv2.Scharr(values, cv2.CV_32F, 1, 0) / 32
    down = cv2.Scharr(values, cv2.CV_32F, 0, 1) / 32
    return np.asarray(np.hypot(across, down).max(-1))


def _regions(even: np.ndarray) -> list[Box]:
    """Boxes of the connected parts of a mask, widened by the edge's half width."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(even.astype(np.uint8), connectivity=4)
    grown = stats[(stats[:, cv2.CC_STAT_AREA] > _AREA[0]) & (stats[:, cv2.CC_STAT_AREA] < _AREA[1])]
    tall, wide = even.shape
    return [
        (max(0, int(x) - 2), max(0, int(y) - 2), min(wide, int(x + w) + 2), min(tall, int(y + h) + 2))
        for x, y, w, h, _ in grown
    ]


def _plausible(box: Box, picture: np.ndarray) -> bool:
    wide, tall = box[2] - box[0], box[3] - box[1]
    large = wide > 0.6 * picture.shape[1] or tall > 0.7 * picture.shape[0]
    return min(wide, tall) >= 6 and max(wide, tall) <= 5 * min(wide, tall) and not large


def _worth(one: Seen) -> float:
    """Surer first; of a whole and its part that are about as sure, the whole."""
    area = (one.bbox[2] - one.bbox[0]) * (one.bbox[3] - one.bbox[1])
    return one.sight.framed * area**_WHOLE


def padded(box: Box) -> Box:
    """The box with a little of its surroundings; it may reach over the picture's edge."""
    x_pad, y_pad = round(_PADDING * (box[2] - box[0])), round(_PADDING * (box[3] - box[1]))
    return box[0] - x_pad, box[1] - y_pad, box[2] + x_pad, box[3] + y_pad


def _crop(picture: np.ndarray, box: Box) -> np.ndarray:
    x1, y1, x2, y2 = padded(box)
    return picture[max(0, y1) : y2, max(0, x1) : x2]


def _shared(a: Box, b: Box) -> float:
    """Intersection over the smaller of two boxes."""
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    return wide * tall / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
