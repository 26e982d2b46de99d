"""A numpy ray-caster: picture, exact depth, object ids and boxes of a scene.

`cast` finds what is where, which is a third of the work; `Cast.developed` gives it light and colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from valor_ray.tabletop.looks import ALBEDO, LOOK_OF, Look
from valor_ray.tabletop.raycast import intersect, turned
from valor_ray.tabletop.scenes import FIELD_OF_VIEW, WALL_Y, Camera, Scene, Solid, image_rect

Array = np.ndarray


@dataclass(frozen=True)
class RenderedObject:
    index: int  # value in Rendering.ids
    colour: str
    shape: str
    bbox: tuple[float, float, float, float]  # of the visible pixels
    visible: float  # share of the object's own pixels that nothing hides
    height_m: float
    width_m: float
    depth_m: float  # median depth of the visible pixels

    @property
    def label(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Geometry:
    """What is where in a square picture."""

    depth: Array  # float32 (size, size), metres along the optical axis
    ids: Array  # int16 (size, size): index of the labelled object, -1 elsewhere
    focal_px: float
    objects: tuple[RenderedObject, ...]

    @property
    def side(self) -> int:
        """Of the picture, in pixels."""
        return len(self.depth)


@dataclass(frozen=True)
class Rendering(Geometry):
    rgb: Array  # uint8 (size, size, 3)


@dataclass(frozen=True)
class _Hit:
    """Where a solid was in front of all that was cast before it."""

    pixels: Array  # (N,), flat indices
    t: Array  # (N,)
    normal: Array  # (N, 3)


@dataclass(frozen=True)
class Cast:
    """The geometry of a scene, with what its colours are made of; `tabletop.dataset` asks about it before it paints."""

    geometry: Geometry
    scene: Scene
    origin: Array  # (3,), metres
    rays: Array  # (size², 3)
    floor: Array  # (size²,), whether the table is behind the solids, else the wall
    ground: Array  # (size²,), depth of table and wall alone
    hits: tuple[_Hit, ...]  # of solids and clutter, in this order

    def developed(self, look: Look | None = None) -> Rendering:
        """The picture: the same pixels on every CPU. look: in place of the scene's own."""
        rgb = _painted(self, look or LOOK_OF[self.scene.look])
        return Rendering(**vars(self.geometry), rgb=rgb)


def _rays(camera: Camera, size: int) -> tuple[Array, Array, float]:
    """Camera position (3,), directions (size², 3) whose t is the depth, focal length in pixels."""
    focal = size / 2 / math.tan(FIELD_OF_VIEW / 2)
    step = (np.arange(size, dtype=np.float32) + 0.5 - size / 2) / focal
    v, u = np.meshgrid(step, step, indexing="ij")
    cos, sin = math.cos(camera.pitch), math.sin(camera.pitch)
    direction = np.stack([u, cos - sin * v, -sin - cos * v], -1).reshape(-1, 3).astype(np.float32)
    return np.array([0, 0, camera.height], np.float32), direction, focal


def _window(camera: Camera, solid: Solid, size: int) -> Array:
    """Flat indices of the pixels that the solid can touch."""
    x1, y1, x2, y2, _z = image_rect(camera, solid)
    columns = np.arange(max(0, int(x1 * size) - 1), min(size, int(x2 * size) + 2))
    rows = np.arange(max(0, int(y1 * size) - 1), min(size, int(y2 * size) + 2))
    return (rows[:, None] * size + columns[None]).ravel()


def _shadow(points: Array, lamp: Array, solids: tuple[Solid, ...]) -> Array:
    """1 where the lamp is seen from a table point, less in shadow."""
    lit = np.ones(len(points), np.float32)
    for solid in solids:
        reach = 0.1 + math.hypot(solid.half_x, solid.half_y) + solid.height * 1.2
        near = np.flatnonzero(
            (np.abs(points[:, 0] - solid.x) < reach) & (np.abs(points[:, 1] - solid.y) < reach)
        )
        if len(near):
            t, _normal = intersect(solid, points[near], np.broadcast_to(lamp, (len(near), 3)))
            lit[near[np.isfinite(t)]] = 0.35
    return lit


def _background(seen: Cast, look: Look, lamp: Array, rng: np.random.Generator) -> Array:
    """Colour (size², 3) of table and wall."""
    depth, floor, solids = seen.ground, seen.floor, seen.scene.solids + seen.scene.clutter
    colour = np.tile(np.array(look.wall, np.float32), (len(depth), 1))
    points = (seen.origin + depth[floor, None] * seen.rays[floor]).astype(np.float32)
    lit = look.ambient + max(float(lamp[2]), 0.2) * _shadow(points, lamp, solids)
    colour[floor] = look.floor(points[:, 0], points[:, 1], rng) * lit[:, None] * np.array(look.light) * 1.25
    if look.hung:
        points = seen.origin + depth[~floor, None] * seen.rays[~floor]
        colour[~floor] = look.floor(points[:, 0], points[:, 2], rng) * np.array(look.wall)
    return colour


def _pool(points: Array, radius: float, rng: np.random.Generator) -> Array:
    """Brightness (N, 1) at points (N, 3) of a room in which a lamp lights the table around some place."""
    centre = np.array([rng.uniform(-0.4, 0.4), rng.uniform(1.5, 2.1)])
    away = ((points[:, :2] - centre) ** 2).sum(1, keepdims=True) / radius**2
    return 0.25 + 0.95 * np.exp(-away)


def _develop(colour: Array, look: Look, size: int, rng: np.random.Generator) -> Array:
    """Linear light to an 8-bit picture. In float64: a float32 power differs from one CPU to the next."""
    picture = np.clip(colour.astype(np.float64), 0, 1) ** (1 / 2.2) * np.array(look.shift)
    if look.blur:
        picture = cv2.GaussianBlur(picture.reshape(size, size, 3), (0, 0), look.blur * size).reshape(-1, 3)
    picture = picture + rng.normal(0, look.noise, picture.shape)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8).reshape(size, size, 3)


def _objects(scene: Scene, ids: Array, own: list[int], depth: Array) -> tuple[RenderedObject, ...]:
    shown = []
    for index, solid in enumerate(scene.solids):
        rows, columns = np.nonzero(ids == index)
        if len(rows) < 8:
            continue
        bbox = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        shown.append(
            RenderedObject(
                index,
                solid.colour,
                solid.shape,
                bbox,
                len(rows) / own[index],
                solid.height,
                solid.width,
                float(np.median(depth[rows, columns])),
            )
        )
    return tuple(shown)


def cast(scene: Scene, size: int = 256) -> Cast:
    """What is where in a square picture of a scene."""
    origin, rays, focal = _rays(scene.camera, size)
    to_table = np.where(rays[:, 2] < -1e-6, -origin[2] / np.minimum(rays[:, 2], -1e-6), np.inf)
    to_wall = WALL_Y / np.maximum(rays[:, 1], 1e-6)
    ground = np.minimum(to_table, to_wall).astype(np.float32)
    depth, ids = ground.copy(), np.full(size * size, -1, np.int16)
    own, hits = [], []
    for index, solid in enumerate(scene.solids + scene.clutter):
        window = _window(scene.camera, solid, size)
        t, normal = intersect(solid, origin, rays[window])
        own.append(int(np.isfinite(t).sum()))
        front = t < depth[window]
        hits.append(_Hit(window[front], t[front], normal[front]))
        depth[window[front]] = t[front]
        ids[window[front]] = index if index < len(scene.solids) else -1
    grid, flat = depth.reshape(size, size), ids.reshape(size, size)
    shown, floor = _objects(scene, flat, own, grid), to_table < to_wall
    return Cast(Geometry(grid, flat, focal, shown), scene, origin, rays, floor, ground, tuple(hits))


def _painted(seen: Cast, look: Look) -> Array:
    """The picture of a scene in a light that its seed gives."""
    scene, origin, rays = seen.scene, seen.origin, seen.rays
    rng = np.random.default_rng([scene.seed, 11])
    around = rng.uniform(-1.2, 1.2)
    lamp = np.array([math.sin(around), -math.cos(around) * 0.6, 1.3], np.float32)
    lamp /= np.float32(math.hypot(*lamp.tolist()))
    colour = _background(seen, look, lamp, rng)
    for solid, hit in zip(scene.solids + scene.clutter, seen.hits, strict=True):
        albedo = np.array(solid.rgb or ALBEDO[solid.colour]) * rng.uniform(0.88, 1.05)
        lambert = np.maximum(turned(hit.normal, lamp[:, None])[:, 0], 0)
        lit = look.ambient + 0.75 * lambert + 0.12 * np.maximum(-hit.normal[:, 1], 0)
        if look.paint is not None:
            local = origin + hit.t[:, None] * rays[hit.pixels] - np.array([solid.x, solid.y, 0])
            lit = lit * look.paint(local, rng)
        colour[hit.pixels] = albedo * lit[:, None] * np.array(look.light) * 1.2
    if look.pool:
        colour = colour * _pool(origin + seen.geometry.depth.reshape(-1, 1) * rays, look.pool, rng)
    return _develop(colour, look, seen.geometry.side, rng)


def render(scene: Scene, size: int = 256, look: Look | None = None) -> Rendering:
    """Render a scene to a square picture: the same pixels on every CPU. look: in place of the scene's own."""
    return cast(scene, size).developed(look)
