"""What the offline judge answers to requests about boxes: text and pictures in, the reply's JSON object out."""

from __future__ import annotations

from typing import Any

import numpy as np

from valor_ray.tabletop.judge.boxes.noise import Noise
from valor_ray.tabletop.judge.boxes.presence import presence
from valor_ray.tabletop.judge.boxes.proposals import propose_boxes
from valor_ray.tabletop.judge.boxes.request import (
    COARSE,
    CROP,
    PRESENCE,
    PROPOSALS,
    read_boxes,
    read_label,
    read_phrases,
    read_wanted,
)
from valor_ray.tabletop.judge.boxes.verdicts import coarse, crop, duplicates


def answer_boxes(head: str, message: str, rgb: np.ndarray, noise: Noise) -> dict[str, Any]:
    """Reply to one of request.HEADS about the first, clean picture of its message, uint8 (height, width, 3).

    The boxes drawn on the second picture stand in the text too; it is not looked at. Raises BoxRequestError.
    Milliseconds of CPU, 0.3 s for PRESENCE: called in a thread of the server, or directly by measure_boxes.
    """
    size = (int(rgb.shape[1]), int(rgb.shape[0]))
    if head == PROPOSALS:
        phrases, convention = read_wanted(message, size)
        return propose_boxes(rgb, phrases, convention)
    if head == PRESENCE:
        return presence(rgb, read_phrases(message, size), noise)
    if head == CROP:
        return crop(rgb, read_label(message, size), noise)
    listed = read_boxes(message, size)
    return coarse(rgb, listed, noise) if head == COARSE else duplicates(rgb, listed, noise)
