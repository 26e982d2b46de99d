"""Pictures as the vision verifier is sent them: the whole one at a readable size, and crops around single boxes."""

from __future__ import annotations

import base64
import math
from typing import Literal

import numpy as np

from valor_ray.judges.boxes.geometry import clipped
from valor_ray.records import BBox

LEAST_SIDE = 768  # px: smaller pictures are scaled up, so that boxes and numbers can be read
THINNEST = 20  # long over short side of a crop: endpoints refuse pictures that are thinner still
Format = Literal["jpeg", "png"]


def sent_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Width and height at which a whole picture is sent: long side between LEAST_SIDE and max_side, which counts."""
    long = max(width, height)
    target = min(max(long, LEAST_SIDE), max_side)
    return max(1, round(width * target / long)), max(1, round(height * target / long))


def scaled(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels (height, width, 3) at another (width, height). Always a copy that may be drawn on."""
    import cv2

    height, width = rgb.shape[:2]
    if (width, height) == size:
        return np.array(rgb)
    smaller = size[0] * size[1] < width * height
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC))


def data_uri(rgb: np.ndarray, form: Format, quality: int) -> str:
    """A picture file of the pixels as a data URI. quality: of a JPEG, 1..100; a PNG is exact."""
    import cv2

    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if form == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _done, data = cv2.imencode(".jpg" if form == "jpeg" else ".png", bgr, options)
    return f"data:image/{form};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"


def crop_window(bbox: BBox, width: int, height: int, padding: float) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in whole px of the crop around a box: `padding` of the box's sides more on each side.

    Clipped to the picture. A crop thinner than 1 to THINNEST is widened as far as the picture goes. bbox: part of it
    lies inside the picture (geometry.clipped).
    """
    pad_x, pad_y = padding * (bbox[2] - bbox[0]), padding * (bbox[3] - bbox[1])
    padded = (bbox[0] - pad_x, bbox[1] - pad_y, bbox[2] + pad_x, bbox[3] + pad_y)
    inside = clipped(padded, width, height)
    if inside is None:
        raise ValueError(f"no part of the box {bbox} lies in the picture of {width}x{height} px")
    long = max(inside[2] - inside[0], inside[3] - inside[1])
    left, right = _widened(inside[0], inside[2], long / THINNEST, width)
    top, bottom = _widened(inside[1], inside[3], long / THINNEST, height)
    return left, top, right, bottom


def crop_pixels(rgb: np.ndarray, bbox: BBox, padding: float, side: int) -> np.ndarray:
    """The crop around a box with its long side scaled to `side` px, uint8 (h, w, 3); nothing is drawn on it."""
    left, top, right, bottom = crop_window(bbox, rgb.shape[1], rgb.shape[0], padding)
    long = max(right - left, bottom - top)
    size = max(1, round((right - left) * side / long)), max(1, round((bottom - top) * side / long))
    return scaled(np.ascontiguousarray(rgb[top:bottom, left:right]), size)


def _widened(low: float, high: float, least: float, limit: int) -> tuple[int, int]:
    """Whole px around low..high, at least `least` long, within 0..limit."""
    more = max(0.0, least - (high - low)) / 2
    first, last = max(0, math.floor(low - more)), min(limit, math.ceil(high + more))
    return first, max(last, first + 1)
