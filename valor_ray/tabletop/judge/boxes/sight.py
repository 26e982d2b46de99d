"""What a box frames: a small convolutional network in numpy that looks at a box and, where there is any, around it.

The network sees a window of SIDE px whose middle slot is the box with 10 % around it: all that a crop shows. Outside of
the slot is what surrounds the box when the whole picture is known, and nothing (a fourth channel says so) when it is
not. Its coefficients (checkpoints/judge/boxes.npz) were fitted by `fit.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from valor_ray.tabletop.judge.boxes.geometry import Box
from valor_ray.tabletop.judge.sight import COLOURS, SHAPES, convolve, pool

SIDE = 48  # px, the network's input
SLOT = 34  # px in its middle: the box and PADDING on each side
PADDING = 0.1  # of the box's sides: grounding.crop_padding
COEFFICIENTS = Path(__file__).parents[2] / "checkpoints" / "judge" / "boxes.npz"
_MARGIN = (SIDE - SLOT) // 2
_REACH = ((1 + 2 * PADDING) * SIDE / SLOT - 1) / 2  # of the box's sides, how far the window sees around it
_LAYERS = ("conv1", "conv2", "conv3", "conv4")
_BATCH = 32


@dataclass(frozen=True)
class BoxSight:
    """Beliefs about one box. Probabilities of shape and of colour sum to 1, given that something is framed."""

    framed: float  # probability that the box overlaps one object by half (intersection over union)
    overlap: float  # expected intersection over union with the object
    object: Box  # where the object seems to be, in units of the box: (0, 0, 1, 1) is the box itself
    shape: np.ndarray  # float32 (4,): SHAPES
    colour: np.ndarray  # float32 (8,): COLOURS


@dataclass(frozen=True)
class Window:
    """The network's input for one box."""

    pixels: np.ndarray  # uint8 (SIDE, SIDE, 4): RGB, then 255 where the picture is known
    aspect: float  # log(width / height) of the box


def window(rgb: np.ndarray, box: Box) -> Window:
    """A box of a uint8 picture (height, width, 3) with what surrounds it; it may reach over the picture's edge."""
    wide, tall = box[2] - box[0], box[3] - box[1]
    left, right = round(box[0] - _REACH * wide), round(box[2] + _REACH * wide)
    top, bottom = round(box[1] - _REACH * tall), round(box[3] + _REACH * tall)
    right, bottom = max(right, left + 2), max(bottom, top + 2)
    height, width = rgb.shape[:2]
    inside = rgb[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    # Each edge of the part inside in px of the window.
    x1, x2 = (_place(x, left, right) for x in (max(0, left), min(width, right)))
    y1, y2 = (_place(y, top, bottom) for y in (max(0, top), min(height, bottom)))
    return _laid(inside, (x1, y1, x2, y2), float(np.log(wide / tall)))


def crop_window(crop: np.ndarray) -> Window:
    """A crop that is a box with PADDING around it; what surrounds it is unknown."""
    end = _MARGIN + SLOT
    aspect = float(np.log(crop.shape[1] / crop.shape[0]))
    return _laid(crop, (_MARGIN, _MARGIN, end, end), aspect)


def look_at(windows: Sequence[Window]) -> list[BoxSight]:
    """What each window's box frames."""
    sights: list[BoxSight] = []
    for start in range(0, len(windows), _BATCH):
        batch = windows[start : start + _BATCH]
        pixels = normalised(np.stack([each.pixels for each in batch]))
        aspect = np.array([each.aspect for each in batch], np.float32)
        sights += [_sight(row) for row in _forward(pixels, aspect)]
    return sights


def normalised(pixels: np.ndarray) -> np.ndarray:
    """uint8 (n, SIDE, SIDE, 4) to float32: colours -1..1 and 0 where unknown, the mask 0 or 1."""
    known = (pixels[..., 3:] > 0).astype(np.float32)
    return np.concatenate([(pixels[..., :3].astype(np.float32) / 127.5 - 1) * known, known], -1)


def _place(at: int, first: int, last: int) -> int:
    return round((at - first) / (last - first) * SIDE)


def _laid(part: np.ndarray, place: tuple[int, int, int, int], aspect: float) -> Window:
    """A window with the part scaled to (x1, y1, x2, y2) of it."""
    x1, y1, x2, y2 = place
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    if x1 < x2 and y1 < y2 and part.size:
        smaller = part.shape[0] * part.shape[1] > (x2 - x1) * (y2 - y1)
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        pixels[y1:y2, x1:x2, :3] = cv2.resize(part, (x2 - x1, y2 - y1), interpolation=how)
        pixels[y1:y2, x1:x2, 3] = 255
    return Window(pixels, aspect)


@cache
def _coefficients() -> dict[str, np.ndarray]:
    with np.load(COEFFICIENTS) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def _forward(pixels: np.ndarray, aspect: np.ndarray) -> np.ndarray:
    """(n, SIDE, SIDE, 4) and (n,) to scores (n, 18): framed, overlap, four edges, shapes, colours."""
    weights = _coefficients()
    flow = pixels
    for layer in _LAYERS:
        flow = pool(np.maximum(convolve(flow, weights[f"{layer}.weight"]) + weights[f"{layer}.bias"], 0))
    flat = np.concatenate([flow.reshape(len(flow), -1), aspect[:, None]], 1)
    hidden = np.maximum(flat @ weights["hidden.weight"] + weights["hidden.bias"], 0)
    return np.asarray(hidden @ weights["head.weight"] + weights["head.bias"])


def _sight(scores: np.ndarray) -> BoxSight:
    framed, overlap = 1 / (1 + np.exp(-scores[:2]))
    x1, y1, x2, y2 = (float(edge) for edge in scores[2:6])
    first = 6 + len(SHAPES)
    return BoxSight(
        float(framed),
        float(overlap),
        (x1, y1, 1 + x2, 1 + y2),
        _softmax(scores[6:first]),
        _softmax(scores[first : first + len(COLOURS)]),
    )


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())
