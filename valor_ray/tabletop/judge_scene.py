"""Finding the objects of a whole picture: regions of even colour are proposed, the crop network keeps the good ones."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from valor_ray.tabletop.judge_sight import Sight, look_at

_WORKING_SIDE = 256  # px; larger pictures are scaled down, smaller ones up, before regions are sought
_FRAMED = 0.6  # least belief that a proposal frames one object
_PADDING = 0.06  # of the box's sides, as in the crops the network was fitted to
_SAME = 0.45  # overlap (intersection over the smaller box) of two boxes on one object
_WHOLE = 0.15  # how much a larger proposal is preferred
_AREA = (40, 20_000)  # px² at the working size


@dataclass(frozen=True)
class Seen:
    bbox: tuple[int, int, int, int]  # in pixels of the working picture
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
    crops = [_padded(picture, box) for box in boxes]
    seen = [
        Seen(box, sight) for box, sight in zip(boxes, look_at(crops), strict=True) if sight.framed > _FRAMED
    ]
    kept: list[Seen] = []
    for one in sorted(seen, key=_worth, reverse=True):
        if all(_shared(one.bbox, other.bbox) < _SAME for other in kept):
            kept.append(one)
    return kept


def propose(picture: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Boxes of stable regions in lightness, saturation and chromaticity."""
    smooth = cv2.medianBlur(picture, 3)
    hsv = cv2.cvtColor(smooth, cv2.COLOR_RGB2HSV)
    lightness = cv2.cvtColor(smooth, cv2.COLOR_RGB2GRAY)
    finder = cv2.MSER_create(3, _AREA[0], _AREA[1], 0.5, 0.1)  # type: ignore[attr-defined]  # missing in the stubs
    boxes: set[tuple[int, int, int, int]] = set()
    for plane in (lightness, hsv[..., 1], *_chromaticity(smooth)):
        _, found = finder.detectRegions(np.ascontiguousarray(plane))
        boxes.update((int(x), int(y), int(x + w), int(y + h)) for x, y, w, h in found)
    return sorted(box for box in boxes if _plausible(box, picture))


def _chromaticity(picture: np.ndarray) -> list[np.ndarray]:
    """Ratios of channels as planes of 0..255: shading scales all channels alike, so an even solid is flat here."""
    red, green, blue = np.moveaxis(np.log(picture.astype(np.float32) + 12), -1, 0)
    planes = (red - green, blue - green, red - blue)
    return [np.clip(128 + 70 * cv2.GaussianBlur(plane, (3, 3), 0), 0, 255).astype(np.uint8) for plane in planes]


def _plausible(box: tuple[int, int, int, int], picture: np.ndarray) -> bool:
    wide, tall = box[2] - box[0], box[3] - box[1]
    large = wide > 0.6 * picture.shape[1] or tall > 0.7 * picture.shape[0]
    return min(wide, tall) >= 6 and max(wide, tall) <= 5 * min(wide, tall) and not large


def _worth(one: Seen) -> float:
    """Surer first; of a whole and its part that are about as sure, the whole."""
    area = (one.bbox[2] - one.bbox[0]) * (one.bbox[3] - one.bbox[1])
    return one.sight.framed * area**_WHOLE


def _padded(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    x_pad, y_pad = round(_PADDING * (box[2] - box[0])), round(_PADDING * (box[3] - box[1]))
    return picture[max(0, box[1] - y_pad) : box[3] + y_pad, max(0, box[0] - x_pad) : box[2] + x_pad]


def _shared(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over the smaller of two boxes."""
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    return wide * tall / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
