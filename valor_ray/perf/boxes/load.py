"""The pictures and candidates of `valor bench boxes`: the same on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from valor_ray.config.grounding import GroundingConfig
from valor_ray.images import from_array
from valor_ray.records import Detection, Picture

WIDTH, HEIGHT = 1920, 1440  # px
COLUMNS, ROWS = 5, 4
LABELS = ("coffee table", "chair", "red cup", "potted plant", "lamp")  # one a column
_NOISE = 4.0  # grey levels, as of a phone's sensor indoors


@dataclass(frozen=True)
class Work:
    picture: Picture
    candidates: tuple[Detection, ...]  # COLUMNS * ROWS, best score first


def pictures(count: int) -> list[Work]:
    """So many different pictures with 20 candidates each: the same whenever they are made."""
    return [_work(np.random.default_rng(seed)) for seed in range(count)]


def kinds(grounding: GroundingConfig) -> dict[str, Any]:
    """What the work is, for the reader of the figures."""
    return {
        "width_px": WIDTH,
        "height_px": HEIGHT,
        "boxes": COLUMNS * ROWS,
        "format": grounding.picture_format,
        "crop_side_px": grounding.crop_side,
    }


def _work(rng: np.random.Generator) -> Work:
    boxes = _boxes(rng)
    rgb = _surface(rng)
    for x1, y1, x2, y2 in (tuple(map(int, box)) for box in boxes):
        rgb[y1:y2, x1:x2] += rng.uniform(-60, 60, 3)  # edges where something stands
    rgb += rng.normal(0, _NOISE, rgb.shape).astype(np.float32)
    scores = np.linspace(0.9, 0.12, len(boxes))
    candidates = [
        Detection(box, LABELS[place % COLUMNS], float(score))
        for place, (box, score) in enumerate(zip(boxes, scores, strict=True))
    ]
    return Work(from_array(np.clip(np.rint(rgb), 0, 255).astype(np.uint8)), tuple(candidates))


def _boxes(rng: np.random.Generator) -> Sequence[tuple[float, float, float, float]]:
    """One in each cell of a grid, at times over its edges, so that some of a column overlap."""
    boxes = []
    cell = np.array([WIDTH / COLUMNS, HEIGHT / ROWS])
    for row in range(ROWS):
        for column in range(COLUMNS):
            centre = (np.array([column, row]) + 0.5 + rng.uniform(-0.1, 0.1, 2)) * cell
            half = rng.uniform([0.25, 0.45], [0.5, 0.7]) * cell
            low, high = np.maximum(centre - half, 0), np.minimum(centre + half, [WIDTH, HEIGHT])
            boxes.append((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
    return boxes


def _surface(rng: np.random.Generator) -> np.ndarray:
    """Light that changes slowly, stains and a fine texture: float32 (HEIGHT, WIDTH, 3)."""
    import cv2

    rgb = np.full((HEIGHT, WIDTH, 3), 128, np.float32)
    for cells, strength in ((3, 45.0), (24, 18.0), (160, 9.0), (640, 6.0)):
        grain = rng.normal(0, strength, (cells * 3 // 4, cells, 3)).astype(np.float32)
        rgb += cv2.resize(grain, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return rgb
