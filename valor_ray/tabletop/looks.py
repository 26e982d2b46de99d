"""The looks of a scene: what table, wall and light do to the picture, never to its geometry."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

# Albedo of the named colours, linear RGB.
ALBEDO = {
    "red": (0.80, 0.09, 0.08),
    "green": (0.10, 0.58, 0.14),
    "blue": (0.10, 0.20, 0.80),
    "yellow": (0.92, 0.82, 0.10),
    "purple": (0.46, 0.12, 0.62),
    "orange": (0.95, 0.45, 0.05),
    "cyan": (0.10, 0.76, 0.80),
    "white": (0.93, 0.93, 0.93),
}


def value_noise(x: Array, y: Array, table: Array) -> Array:
    """Smooth noise in 0..1 at world points, from a square table of random values that repeats."""
    side = len(table)
    xi, yi = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - xi, y - yi
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    x0, x1, y0, y1 = xi % side, (xi + 1) % side, yi % side, (yi + 1) % side
    top = table[y0, x0] * (1 - fx) + table[y0, x1] * fx
    low = table[y1, x0] * (1 - fx) + table[y1, x1] * fx
    return top * (1 - fy) + low * fy


def _tiles(x: Array, y: Array, rng: np.random.Generator) -> Array:
    side = rng.uniform(0.18, 0.3)
    cell = (np.floor(x / side) + np.floor(y / side)) % 2
    base = rng.uniform(0.42, 0.55)
    grout = (np.abs(x / side - np.round(x / side)) < 0.02) | (np.abs(y / side - np.round(y / side)) < 0.02)
    grey = np.where(grout, base * 0.6, base + 0.06 * cell)
    return np.stack([grey, grey, grey * 1.02], 1)


def _wood(x: Array, y: Array, rng: np.random.Generator) -> Array:
    table = rng.random((32, 32))
    plank = np.floor(x / 0.2)
    grain = value_noise(x * 40 + plank * 7, y * 2.5 + plank * 3, table)
    tone = 0.75 + 0.2 * grain + 0.08 * np.sin(plank.astype(np.float64) * 12.9)
    gap = np.abs(x / 0.2 - np.round(x / 0.2)) < 0.015
    tone = np.where(gap, tone * 0.6, tone)
    return tone[:, None] * np.array([0.42, 0.29, 0.18])


def _mottled(x: Array, y: Array, rng: np.random.Generator) -> Array:
    table = rng.random((32, 32))
    tone = 0.12 + 0.16 * value_noise(x * 6, y * 6, table) + 0.12 * value_noise(x * 21, y * 21, table.T)
    return tone[:, None] * np.array([1.0, 0.95, 0.85])


def _loud(x: Array, y: Array, rng: np.random.Generator) -> Array:
    side = rng.uniform(0.25, 0.35)
    tints = 0.35 + 0.4 * (rng.random((6, 3)) - 0.35)
    cell = (np.floor(x / side) * 2 + np.floor(y / side) * 3).astype(int) % 6
    return tints[cell]


def _slate(x: Array, y: Array, rng: np.random.Generator) -> Array:
    table = rng.random((32, 32))
    tone = 0.10 + 0.10 * value_noise(x * 3, y * 3, table) + 0.05 * value_noise(x * 30, y * 30, table.T)
    return tone[:, None] * np.array([0.85, 0.95, 1.1])


def _quilt(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Patches as large as objects, in the colours that objects have."""
    side, turn = rng.uniform(0.14, 0.24), rng.uniform(0, math.pi / 2)
    picked = rng.integers(0, len(ALBEDO), (32, 32))
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    patch = picked[np.floor(v / side).astype(int) % 32, np.floor(u / side).astype(int) % 32]
    return 0.05 + 0.64 * np.array(list(ALBEDO.values()))[patch]


def _banded(local: Array, rng: np.random.Generator) -> Array:
    """Lighter and darker bands around a solid, at a slant."""
    slant = rng.normal(0, 0.5, 2)
    phase = (local[:, 2] + local[:, 0] * slant[0] + local[:, 1] * slant[1]) / rng.uniform(
        0.035, 0.06
    ) + rng.random()
    return np.where(np.floor(phase) % 2 == 0, 1.1, 0.87)


@dataclass(frozen=True)
class Look:
    floor: Callable[[Array, Array, np.random.Generator], Array]  # table colour at world x, y
    wall: tuple[float, float, float]
    light: tuple[float, float, float]  # colour of the lamp
    ambient: float
    shift: tuple[float, float, float]  # gain of each channel of the final picture
    noise: float  # standard deviation of sensor noise, 0..1
    blur: float = 0.0  # standard deviation of the lens's blur, as a share of the picture's side
    pool: float = 0.0  # radius in metres of the lamp's pool of light; 0: the whole room is lit
    hung: bool = False  # a cloth with the table's kind of pattern hangs on the wall; `wall` is then its tint
    # Factor of a solid's albedo at points (N, 3) relative to its foot, metres; None: one colour all over.
    paint: Callable[[Array, np.random.Generator], Array] | None = None


LOOK_OF: dict[str, Look] = {  # by the names of scenes.ALL_LOOKS
    "tiles": Look(_tiles, (0.60, 0.60, 0.62), (0.75, 0.75, 0.74), 0.42, (1.0, 1.0, 1.0), 0.008),
    "wood": Look(_wood, (0.62, 0.57, 0.50), (0.82, 0.76, 0.66), 0.40, (1.0, 0.98, 0.93), 0.008),
    "dusk": Look(_mottled, (0.20, 0.17, 0.16), (0.62, 0.50, 0.40), 0.24, (1.0, 0.90, 0.78), 0.018),
    "loud": Look(_loud, (0.38, 0.50, 0.62), (0.62, 0.74, 0.92), 0.34, (0.84, 1.0, 1.1), 0.04),
    "lamp": Look(
        _slate, (0.50, 0.52, 0.56), (0.60, 0.66, 0.80), 0.34, (0.90, 0.95, 1.05), 0.04, blur=0.004, pool=0.6
    ),
    "quilt": Look(
        _quilt, (0.8, 0.8, 0.8), (0.80, 0.75, 0.66), 0.36, (1.0, 0.97, 0.92), 0.02, hung=True, paint=_banded
    ),
}
