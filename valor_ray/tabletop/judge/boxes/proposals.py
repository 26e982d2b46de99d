"""Boxes that the offline judge proposes itself: regions of a picture that frame what a phrase says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from valor_ray.tabletop.judge.boxes.beliefs import believed, fits
from valor_ray.tabletop.judge.boxes.geometry import Box, clipped, overlap, placed
from valor_ray.tabletop.judge.boxes.phrases import read_phrase
from valor_ray.tabletop.judge.boxes.sight import BoxSight
from valor_ray.tabletop.judge.scene import propose, working_size

_SURE = 0.5  # least belief that a box frames what its phrase says
_SAME = 0.45  # overlap of two boxes on one object
_DIGITS = {"xyxy_pixels": 0, "xyxy_1000": 0, "yxyx_1000": 0, "xyxy_unit": 4}  # decimals of each convention


@dataclass(frozen=True)
class Proposed:
    box: Box  # pixels of the picture as sent
    sight: BoxSight


def propose_boxes(rgb: np.ndarray, phrases: Sequence[str], convention: str) -> dict[str, Any]:
    """Reply to box_proposals about a uint8 picture (height, width, 3): the boxes that fit each phrase, surest first.

    convention: one of request.CONVENTIONS. A phrase that is not understood gets no box.
    """
    objects = find_boxes(rgb)
    size = (int(rgb.shape[1]), int(rgb.shape[0]))
    boxes = []
    for phrase in phrases:
        thing = read_phrase(phrase)
        chances = [0.0 if thing is None else fits(each.sight, thing) for each in objects]
        for place in np.argsort(chances)[::-1]:
            if chances[place] >= _SURE:
                boxes.append({"label": phrase, "box": written(objects[place].box, size, convention)})
    return {"boxes": boxes}


def find_boxes(rgb: np.ndarray) -> list[Proposed]:
    """The objects of a picture, surest first: regions of even colour, each moved to where its object seems to be."""
    small = working_size(rgb)
    scale = rgb.shape[1] / small.shape[1], rgb.shape[0] / small.shape[0]
    regions = propose(small)
    first = _looked([tuple(float(edge) for edge in box) for box in regions], small)  # type: ignore[misc]
    moved = [placed(each.box, each.sight.object) for each in first if each.sight.overlap > 0.3]
    height, width = small.shape[:2]
    inside = [clipped(box, width, height) for box in moved]
    looked = _looked([box for box in inside if min(box[2] - box[0], box[3] - box[1]) >= 4], small)
    kept: list[Proposed] = []
    for one in sorted(looked, key=lambda each: each.sight.framed * each.sight.overlap, reverse=True):
        if one.sight.framed >= _SURE and all(overlap(one.box, other.box) < _SAME for other in kept):
            kept.append(one)
    x, y = scale
    return [
        Proposed((one.box[0] * x, one.box[1] * y, one.box[2] * x, one.box[3] * y), one.sight) for one in kept
    ]


def written(box: Box, size: tuple[int, int], convention: str) -> list[float]:
    """The box in a convention. size: width, height of the picture as sent."""
    x1, y1, x2, y2 = box
    width, height = size
    if convention != "xyxy_pixels":
        most = 1.0 if convention == "xyxy_unit" else 1000.0
        x1, x2, y1, y2 = x1 / width * most, x2 / width * most, y1 / height * most, y2 / height * most
    numbers = [y1, x1, y2, x2] if convention == "yxyx_1000" else [x1, y1, x2, y2]
    digits = _DIGITS[convention]
    return [round(number, digits) if digits else round(number) for number in numbers]


def _looked(boxes: Sequence[Box], rgb: np.ndarray) -> list[Proposed]:
    return [Proposed(box, sight) for box, sight in zip(boxes, believed(rgb, boxes), strict=True)]
