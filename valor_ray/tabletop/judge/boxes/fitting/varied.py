"""Looks drawn at random, for fitting: any ground, light, paint and clutter, none of them a look that scenes have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from valor_ray.tabletop.looks import ALBEDO, LOOK_OF, Look, value_noise
from valor_ray.tabletop.scenes import SEEN_LOOKS, Scene, sample_scene

Array = np.ndarray
Ground = Callable[[Array, Array, np.random.Generator], Array]
_OBJECT_COLOURS = np.array(list(ALBEDO.values()))
_CLUTTER_OF = ("tiles", "dusk", "quilt")  # whose number of pieces a scene has: none, some, many


def varied_scene(seed: int, rng: np.random.Generator) -> tuple[Scene, Look]:
    """The scene of a seed and a look for it."""
    scene = sample_scene(seed, _CLUTTER_OF[int(rng.integers(len(_CLUTTER_OF)))])
    return dataclasses.replace(scene, look=SEEN_LOOKS[seed % len(SEEN_LOOKS)]), varied_look(rng)


def varied_look(rng: np.random.Generator) -> Look:
    """A ground, wall, light, lens and paint that are drawn each for itself."""
    ground = _ground(rng)
    warm = np.exp(rng.uniform(-0.3, 0.3) * np.array([1, 0.2, -1]))
    wall = rng.uniform(0.15, 0.75) * np.exp(rng.normal(0, 0.15, 3))
    light = rng.uniform(0.5, 0.85) * warm
    shift = np.exp(rng.normal(0, 0.06, 3)).clip(0.8, 1.15)
    return Look(
        ground,
        _triple(wall),
        _triple(light),
        float(rng.uniform(0.22, 0.45)),
        _triple(shift),
        float(rng.uniform(0.005, 0.045)),
        blur=float(rng.uniform(0.001, 0.005)) if rng.random() < 0.3 else 0.0,
        pool=float(rng.uniform(0.45, 1.3)) if rng.random() < 0.3 else 0.0,
        hung=bool(rng.random() < 0.4),
        paint=_paint(rng) if rng.random() < 0.5 else None,
    )


def _triple(values: Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _ground(rng: np.random.Generator) -> Ground:
    if rng.random() < 0.3:
        return LOOK_OF[SEEN_LOOKS[int(rng.integers(len(SEEN_LOOKS)))]].floor
    colours = _palette(rng)
    turn, side = rng.uniform(0, math.pi), rng.uniform(0.06, 0.35)
    stretch = rng.uniform(0.5, 2)
    cells = _CELLS[int(rng.integers(len(_CELLS)))]
    grain = rng.uniform(0, 0.25)

    def floor(x: Array, y: Array, own: np.random.Generator) -> Array:
        u = (x * math.cos(turn) + y * math.sin(turn)) / side
        v = (y * math.cos(turn) - x * math.sin(turn)) / side * stretch
        tone = 1 - grain + 2 * grain * value_noise(x * 30, y * 30, own.random((32, 32)))
        return colours[cells(u, v, len(colours), own)] * tone[:, None]

    return floor


def _palette(rng: np.random.Generator) -> Array:
    """Two to eight colours of the ground: shades of one, any, or those that objects have."""
    count, kind = int(rng.integers(2, 9)), rng.random()
    if kind < 0.35:
        return np.asarray(_OBJECT_COLOURS[rng.permutation(8)[:count]] * rng.uniform(0.5, 1.0))
    if kind < 0.65:
        return np.asarray(rng.uniform(0.05, 0.8, (count, 3)))
    return np.asarray(rng.uniform(0.08, 0.6, 3) * rng.uniform(0.5, 1.4, (count, 1)))


def _squares(u: Array, v: Array, count: int, rng: np.random.Generator) -> Array:
    table = rng.integers(0, count, (32, 32))
    return np.asarray(table[np.floor(u).astype(int) % 32, np.floor(v).astype(int) % 32])


def _stripes(u: Array, _v: Array, count: int, _rng: np.random.Generator) -> Array:
    return np.asarray(np.floor(u).astype(int) % count)


def _bricks(u: Array, v: Array, count: int, rng: np.random.Generator) -> Array:
    row = np.floor(v).astype(int)
    return _squares(u + 0.5 * (row % 2), v, count, rng)


def _triangles(u: Array, v: Array, count: int, rng: np.random.Generator) -> Array:
    upper = (u - np.floor(u) + v - np.floor(v) > 1).astype(int)
    return np.asarray((_squares(u, v, count, rng) + upper) % count)


def _discs(u: Array, v: Array, count: int, rng: np.random.Generator) -> Array:
    """Round spots on one colour."""
    inside = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5) < 0.4
    return np.asarray(np.where(inside, _squares(u, v, count, rng), 0))


def _blotches(u: Array, v: Array, count: int, rng: np.random.Generator) -> Array:
    noise = value_noise(u, v, rng.random((32, 32)))
    return np.asarray(np.minimum((noise * count).astype(int), count - 1))


_CELLS = (_squares, _stripes, _bricks, _triangles, _discs, _blotches)


def _paint(rng: np.random.Generator) -> Callable[[Array, np.random.Generator], Array]:
    """Factors of a solid's albedo: rings, patches or a gradient."""
    kind, strength = int(rng.integers(3)), rng.uniform(0.1, 0.35)

    def paint(local: Array, own: np.random.Generator) -> Array:
        along = local @ own.normal(0, 1, 3)
        if kind == 0:
            value = np.floor(along / own.uniform(0.03, 0.09)) % 2
        elif kind == 1:
            value = value_noise(
                local[:, 0] * 15 + 5, (local[:, 2] + local[:, 1]) * 15 + 5, own.random((16, 16))
            )
        else:
            value = np.clip(0.5 + along * 3, 0, 1)
        return np.asarray(1.1 - strength * value)

    return paint
