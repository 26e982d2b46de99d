"""What a crop shows: a small convolutional network in numpy that names the shape and colour at a crop's centre.

Its coefficients (checkpoints/judge/sight.npz) were fitted by `fit.py`. It sees the crop and
nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

SHAPES = ("box", "ball", "cylinder", "cone")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white")
SIDE = 32  # px, the network's input
COEFFICIENTS = Path(__file__).parents[1] / "checkpoints" / "judge" / "sight.npz"
_BATCH = 64


@dataclass(frozen=True)
class Sight:
    """Beliefs about one crop. Probabilities of each group sum to 1."""

    shape: np.ndarray  # float32 (5,): SHAPES, then "no well-framed object"
    colour: np.ndarray  # float32 (8,): COLOURS

    @property
    def framed(self) -> float:
        """Probability that the crop frames one object."""
        return float(1 - self.shape[-1])


def shrink(rgb: np.ndarray) -> np.ndarray:
    """Any uint8 crop to the network's uint8 input (SIDE, SIDE, 3)."""
    larger = min(rgb.shape[:2]) > SIDE
    return cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)


def look_at(crops: list[np.ndarray]) -> list[Sight]:
    """Name what each uint8 crop (height, width, 3) shows."""
    sights: list[Sight] = []
    for start in range(0, len(crops), _BATCH):
        batch = crops[start : start + _BATCH]
        pixels = np.stack([shrink(crop) for crop in batch]).astype(np.float32) / 127.5 - 1
        aspect = np.array([np.log(crop.shape[1] / crop.shape[0]) for crop in batch], np.float32)
        shape, colour = _forward(pixels, aspect)
        sights += [Sight(s, c) for s, c in zip(shape, colour, strict=True)]
    return sights


@cache
def _coefficients() -> dict[str, np.ndarray]:
    with np.load(COEFFICIENTS) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def _forward(pixels: np.ndarray, aspect: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, SIDE, SIDE, 3) in -1..1 and log(width / height) (n,) to probabilities (n, 5) and (n, 8)."""
    weights = _coefficients()
    flow = pixels
    for layer in ("conv1", "conv2", "conv3"):
        flow = pool(np.maximum(convolve(flow, weights[f"{layer}.weight"]) + weights[f"{layer}.bias"], 0))
    flat = np.concatenate([flow.reshape(len(flow), -1), aspect[:, None]], 1)
    hidden = np.maximum(flat @ weights["hidden.weight"] + weights["hidden.bias"], 0)
    scores = hidden @ weights["head.weight"] + weights["head.bias"]
    return _softmax(scores[:, : len(SHAPES) + 1]), _softmax(scores[:, len(SHAPES) + 1 :])


def convolve(flow: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """3 x 3, same size; flow (n, h, w, in), kernel (3, 3, in, out)."""
    padded = np.pad(flow, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = flow.shape[1:3]
    shifts = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.concatenate(shifts, -1) @ kernel.reshape(-1, kernel.shape[-1])


def pool(flow: np.ndarray) -> np.ndarray:
    n, height, width, channels = flow.shape
    return flow.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)
