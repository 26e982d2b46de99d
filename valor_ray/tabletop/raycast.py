"""Where rays meet solids. Rays are origin + t * direction; every function returns t (inf: a miss) and the normal."""

from __future__ import annotations

import math

import numpy as np

from valor_ray.tabletop.scenes import Solid

Array = np.ndarray
_EPS = 1e-4


def turned(vectors: Array, matrix: Array) -> Array:
    """vectors (N, K) times matrix (K, M), each sum from left to right.

    A BLAS product sums in an order of the CPU's own, so a pixel would differ from one machine to the next.
    """
    total = vectors[:, :1] * matrix[0]
    for k in range(1, len(matrix)):
        total = total + vectors[:, k : k + 1] * matrix[k]
    return total


def _nearest(*options: tuple[Array, Array]) -> tuple[Array, Array]:
    t, normal = options[0]
    for other_t, other_normal in options[1:]:
        closer = other_t < t
        t = np.where(closer, other_t, t)
        normal = np.where(closer[:, None], other_normal, normal)
    return t, normal


def _ball(origin: Array, direction: Array, solid: Solid) -> tuple[Array, Array]:
    radius = solid.half_x
    rel = origin - np.array([0.0, 0.0, radius], np.float32)
    a = (direction * direction).sum(1)
    b = (rel * direction).sum(1)
    root = b * b - a * ((rel * rel).sum(1) - radius * radius)
    t = (-b - np.sqrt(np.maximum(root, 0))) / a
    t = np.where((root > 0) & (t > _EPS), t, np.inf)
    hit = rel + np.where(np.isfinite(t), t, 0)[:, None] * direction
    return t, hit / radius


def _box(origin: Array, direction: Array, solid: Solid) -> tuple[Array, Array]:
    cos, sin = math.cos(solid.yaw), math.sin(solid.yaw)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
    o = turned(origin, turn) - np.array([0, 0, solid.height / 2], np.float32)
    d = turned(direction, turn)
    d = np.where(np.abs(d) < 1e-9, np.float32(1e-9), d)
    half = np.array([solid.half_x, solid.half_y, solid.height / 2], np.float32)
    first, second = (-half - o) / d, (half - o) / d
    low, high = np.minimum(first, second), np.maximum(first, second)
    enter, leave = low.max(1), high.min(1)
    t = np.where((enter < leave) & (enter > _EPS), enter, np.inf)
    axis = low.argmax(1)
    rows = np.arange(len(axis))
    normal = np.zeros_like(d)
    normal[rows, axis] = -np.sign(d[rows, axis])
    return t, turned(normal, turn.T)


def _disc(origin: Array, direction: Array, z: float, radius: float) -> tuple[Array, Array]:
    down = np.where(np.abs(direction[:, 2]) < 1e-9, np.float32(1e-9), direction[:, 2])
    t = (z - origin[:, 2]) / down
    hit = origin[:, :2] + t[:, None] * direction[:, :2]
    t = np.where((t > _EPS) & ((hit * hit).sum(1) <= radius * radius), t, np.inf)
    return t, np.tile(np.array([0, 0, 1], np.float32), (len(t), 1))


def _side(origin: Array, direction: Array, base: float, slope: float, height: float) -> tuple[Array, Array]:
    """The side of a cylinder (slope 0) or cone: radius base - slope * z for 0 <= z <= height."""
    o, d = origin, direction
    reach = base - slope * o[:, 2]
    a = d[:, 0] ** 2 + d[:, 1] ** 2 - (slope * d[:, 2]) ** 2
    a = np.where(np.abs(a) < 1e-9, np.float32(1e-9), a)
    b = o[:, 0] * d[:, 0] + o[:, 1] * d[:, 1] + reach * slope * d[:, 2]
    c = o[:, 0] ** 2 + o[:, 1] ** 2 - reach**2
    root = b * b - a * c
    spread = np.sqrt(np.maximum(root, 0))
    best = np.full(len(a), np.inf, np.float32)
    for sign in (-1.0, 1.0):
        t = (-b + sign * spread) / a
        z = o[:, 2] + t * d[:, 2]
        best = np.where((root > 0) & (t > _EPS) & (z >= 0) & (z <= height) & (t < best), t, best)
    hit = o + np.where(np.isfinite(best), best, 0)[:, None] * d
    radial = np.maximum(np.hypot(hit[:, 0], hit[:, 1]), 1e-6)
    normal = np.stack([hit[:, 0] / radial, hit[:, 1] / radial, np.full_like(radial, slope)], 1)
    return best, normal / math.sqrt(1 + slope * slope)


def intersect(solid: Solid, origin: Array, direction: Array) -> tuple[Array, Array]:
    """Rays against one solid. origin (3,) or (N, 3), direction (N, 3); returns t (N,), unit normal (N, 3)."""
    local = (origin - np.array([solid.x, solid.y, 0], np.float32)).astype(np.float32)
    if local.ndim == 1:
        local = np.broadcast_to(local, direction.shape)
    if solid.shape == "ball":
        return _ball(local, direction, solid)
    if solid.shape == "box":
        return _box(local, direction, solid)
    if solid.shape == "cylinder":
        side = _side(local, direction, solid.half_x, 0.0, solid.height)
        return _nearest(side, _disc(local, direction, solid.height, solid.half_x))
    return _side(local, direction, solid.half_x, solid.half_x / solid.height, solid.height)
