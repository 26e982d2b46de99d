"""What is believed of a box: the look at the box and the look at its crop (judge/sight.py), weighed together.

The two networks err on different boxes. The one of `boxes/sight.py` knows how tight a box is; that of `judge/sight.py`
was fitted to well-framed crops and is the better one at shapes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from valor_ray.tabletop.judge import sight as crop_sight
from valor_ray.tabletop.judge.boxes.geometry import Box
from valor_ray.tabletop.judge.boxes.sight import PADDING, BoxSight, Window, crop_window, look_at, window
from valor_ray.tabletop.judge.questions import Thing
from valor_ray.tabletop.judge.sight import COLOURS, SHAPES, Sight

# The crop's part, chosen on scenes of the val split in tiles, wood, dusk, loud and in looks drawn at random.
_COLOUR, _SHAPE, _FRAMED = 0.5, 0.5, 1 / 3
_TIGHT, _SOFT = 0.5, 0.05  # overlap at which a box is half believed to be tight, and how soft that is


def believed(rgb: np.ndarray, boxes: Sequence[Box]) -> list[BoxSight]:
    """Of boxes in a picture, uint8 (height, width, 3); each has an area inside it. About 4 ms of CPU a box."""
    return _weighed([window(rgb, box) for box in boxes], [_padded(rgb, box) for box in boxes])


def believed_of_crop(crop: np.ndarray) -> BoxSight:
    """Of a box with PADDING around it, of whose surroundings nothing is known."""
    return _weighed([crop_window(crop)], [crop])[0]


def fits(sight: BoxSight, thing: Thing) -> float:
    """Belief that a box frames something of the colour and shape that are named."""
    chance = sight.framed
    if thing.colour is not None:
        chance *= float(sight.colour[COLOURS.index(thing.colour)])
    if thing.shape is not None:
        chance *= float(sight.shape[SHAPES.index(thing.shape)])
    return chance


def _weighed(windows: Sequence[Window], crops: Sequence[np.ndarray]) -> list[BoxSight]:
    pairs = zip(look_at(windows), crop_sight.look_at(list(crops)), strict=True)
    return [_both(box, crop) for box, crop in pairs]


def _both(box: BoxSight, crop: Sight) -> BoxSight:
    shape = crop.shape[:-1] / max(float(crop.shape[:-1].sum()), 1e-6)
    tight = 1 / (1 + math.exp((_TIGHT - box.overlap) / _SOFT))
    return dataclasses.replace(
        box,
        framed=box.framed ** (1 - _FRAMED) * crop.framed**_FRAMED * tight,
        shape=_SHAPE * shape + (1 - _SHAPE) * box.shape,
        colour=_COLOUR * crop.colour + (1 - _COLOUR) * box.colour,
    )


def _padded(rgb: np.ndarray, box: Box) -> np.ndarray:
    """The box with PADDING around it, as far as the picture goes, at least one px each way."""
    x_pad, y_pad = PADDING * (box[2] - box[0]), PADDING * (box[3] - box[1])
    height, width = rgb.shape[:2]
    left, top = max(0, math.floor(box[0] - x_pad)), max(0, math.floor(box[1] - y_pad))
    left, top = min(left, width - 1), min(top, height - 1)
    return rgb[top : max(top + 1, math.ceil(box[3] + y_pad)), left : max(left + 1, math.ceil(box[2] + x_pad))]
