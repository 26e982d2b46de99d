"""Sampling of tabletop scenes: which solids stand where, and from where they are seen. All lengths are metres.

World axes: x to the right, y away from the camera, z up; the table is z = 0 and the camera stands at x = y = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from valor_ray.errors import ConfigError

SHAPES = ("box", "ball", "cylinder", "cone")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white")
LOOKS = ("tiles", "wood", "dusk", "loud")
SEEN_LOOKS = ("tiles", "wood")  # what the base detector is pre-trained on
UNSEEN_LOOKS = ("dusk", "loud")
GROUNDING_LOOKS = ("lamp", "quilt")  # of the grounding loop: harder, and in question sets only by name
ALL_LOOKS = LOOKS + GROUNDING_LOOKS
# Pieces of clutter in a scene: at least, and one more than at most.
_CLUTTER = {"dusk": (2, 6), "loud": (2, 6), "lamp": (2, 6), "quilt": (6, 12)}

# Scene seeds by split: ranges that never meet, so no two splits share a scene. What has no seed of its own
# (pre-training, measuring) draws from these; data sets get their scenes from `set_seeds`.
SPLIT_SEEDS = {
    "train": range(0, 1_000_000),
    "val": range(1_000_000, 2_000_000),
    "held_out": range(2_000_000, 3_000_000),
    "queries": range(3_000_000, 4_000_000),
}
SET_SCENES = 20_000  # scene seeds that a data set of one seed owns
_SETS_INSIDE = 50  # data sets that fit into a split's range; those of larger seeds lie beyond all ranges


def set_seeds(split: str, seed: int) -> range:
    """The scene seeds that the data set of a seed may use: disjoint from those of every other seed and split.

    Seeds below 50 have their place inside the split's range of a million, as shipped figures depend on it. From 50 on
    the blocks of all splits follow one another: seed 50 of the first split begins where the ranges end, at 4,000,000.
    Raises ConfigError for a negative seed.
    """
    if seed < 0:
        raise ConfigError(f"seed {seed} is below 0: give a whole number from 0 on.")
    if seed < _SETS_INSIDE:
        first = SPLIT_SEEDS[split].start + seed * SET_SCENES
    else:
        first = (seed * len(SPLIT_SEEDS) + list(SPLIT_SEEDS).index(split)) * SET_SCENES
    return range(first, first + SET_SCENES)


def set_of_scene(scene_seed: int) -> tuple[str, int]:
    """The split and seed of the data set that owns a scene: `set_seeds` the other way round."""
    splits = list(SPLIT_SEEDS)
    inside = next((split for split in splits if scene_seed in SPLIT_SEEDS[split]), None)
    if inside is not None:
        return inside, (scene_seed - SPLIT_SEEDS[inside].start) // SET_SCENES
    block = scene_seed // SET_SCENES
    return splits[block % len(splits)], block // len(splits)


FIELD_OF_VIEW = math.radians(35)
WALL_Y = 3.1  # the backdrop
_NEAR, _FAR = 1.25, 2.6  # where objects may stand, along y
_MAX_COVERED = 0.45  # the most of an object's image rectangle that nearer objects may cover


@dataclass(frozen=True)
class Camera:
    height: float  # above the table
    pitch: float  # radians below the horizon


@dataclass(frozen=True)
class Solid:
    shape: str  # one of SHAPES
    colour: str  # one of COLOURS, or "" for clutter, which no label names
    x: float
    y: float
    half_x: float  # half extents before the turn; the radius for round solids
    half_y: float
    height: float
    yaw: float  # radians about z
    rgb: tuple[float, float, float] | None = None  # clutter's own colour

    @property
    def label(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def width(self) -> float:
        """Extent along x, as the camera sees it."""
        if self.shape != "box":
            return 2 * self.half_x
        return 2 * (self.half_x * abs(math.cos(self.yaw)) + self.half_y * abs(math.sin(self.yaw)))


@dataclass(frozen=True)
class Scene:
    seed: int
    look: str
    camera: Camera
    solids: tuple[Solid, ...]  # labelled objects
    clutter: tuple[Solid, ...]  # unlabelled ones


def _solid(rng: np.random.Generator, colour: str, shape: str, x: float, y: float) -> Solid:
    u = rng.uniform
    if shape == "ball":
        radius = u(0.07, 0.16)
        return Solid(shape, colour, x, y, radius, radius, 2 * radius, 0.0)
    if shape == "box":
        return Solid(shape, colour, x, y, u(0.06, 0.13), u(0.06, 0.13), u(0.12, 0.36), u(0, math.pi / 2))
    radius = u(0.06, 0.12) if shape == "cylinder" else u(0.08, 0.14)
    return Solid(shape, colour, x, y, radius, radius, u(0.14, 0.38), 0.0)


def image_rect(camera: Camera, solid: Solid) -> tuple[float, float, float, float, float]:
    """Bounds (x1, y1, x2, y2) of the solid's bounding cylinder for a picture of side 1, and its nearest depth."""
    focal = 0.5 / math.tan(FIELD_OF_VIEW / 2)
    reach = math.hypot(solid.half_x, solid.half_y) if solid.shape == "box" else solid.half_x
    cos, sin = math.cos(camera.pitch), math.sin(camera.pitch)
    us, vs, zs = [], [], []
    for dx in (-reach, reach):
        for dy in (-reach, reach):
            for z in (0.0, solid.height):
                forward, drop = solid.y + dy, camera.height - z
                depth = forward * cos + drop * sin
                us.append(0.5 + focal * (solid.x + dx) / depth)
                vs.append(0.5 + focal * (drop * cos - forward * sin) / depth)
                zs.append(depth)
    return min(us), min(vs), max(us), max(vs), min(zs)


def _covered(rects: list[tuple[float, float, float, float, float]]) -> bool:
    """Does any nearer rectangle cover too much of a farther one?"""
    for a in rects:
        area = (a[2] - a[0]) * (a[3] - a[1])
        for b in rects:
            wide = min(a[2], b[2]) - max(a[0], b[0])
            tall = min(a[3], b[3]) - max(a[1], b[1])
            if b[4] < a[4] and wide > 0 and tall > 0 and wide * tall > _MAX_COVERED * area:
                return True
    return False


def _spot(
    rng: np.random.Generator, camera: Camera, stood: list[Solid], make: Callable[[float, float], Solid]
) -> Solid | None:
    """A solid at a free spot inside the picture, or None after a few tries."""
    for _ in range(30):
        y = _NEAR + (_FAR - _NEAR) * rng.random()
        solid = make(rng.uniform(-0.28, 0.28) * y, y)
        x1, y1, x2, y2, _z = image_rect(camera, solid)
        if min(x1, y1) < 0.01 or max(x2, y2) > 0.99:
            continue
        clear = all(
            math.hypot(solid.x - other.x, solid.y - other.y)
            > 1.25 * (max(solid.half_x, solid.half_y) + max(other.half_x, other.half_y))
            for other in stood
        )
        if clear and not _covered([image_rect(camera, s) for s in [*stood, solid]]):
            return solid
    return None


def _names(rng: np.random.Generator, count: int) -> list[tuple[str, str]]:
    """Colours and shapes, with repeats often enough that counting and choosing are worth asking about."""
    names: list[tuple[str, str]] = []
    for _ in range(count):
        colour, shape = COLOURS[rng.integers(8)], SHAPES[rng.integers(4)]
        if names and rng.random() < 0.3:
            shape = names[rng.integers(len(names))][1]
        if names and rng.random() < 0.2:
            colour = names[rng.integers(len(names))][0]
        if names and rng.random() < 0.12:
            colour, shape = names[rng.integers(len(names))]
        names.append((colour, shape))
    return names


def _clutter(
    rng: np.random.Generator, camera: Camera, stood: list[Solid], fewest: int, end: int
) -> tuple[Solid, ...]:
    """Pebbles and planks in dull greys and browns that no question names: `fewest` to `end` - 1, as far as they fit."""
    pieces: list[Solid] = []
    for _ in range(int(rng.integers(fewest, end))):
        grey = rng.uniform(0.2, 0.5)
        rgb = (grey * 1.1, grey, grey * rng.uniform(0.7, 1.0))

        def make(x: float, y: float, rgb: tuple[float, float, float] = rgb) -> Solid:
            if rng.random() < 0.5:
                radius = rng.uniform(0.02, 0.04)
                return Solid("ball", "", x, y, radius, radius, 2 * radius, 0.0, rgb)
            return Solid("box", "", x, y, rng.uniform(0.02, 0.1), 0.025, 0.03, rng.uniform(0, math.pi), rgb)

        piece = _spot(rng, camera, stood + pieces, make)
        if piece is not None:
            pieces.append(piece)
    return tuple(pieces)


def sample_scene(seed: int, look: str) -> Scene:
    """The scene of a seed: the same seed gives the same solids in every look. Raises ValueError on an unknown look."""
    if look not in ALL_LOOKS:
        raise ValueError(f"unknown look {look!r}: one of {', '.join(ALL_LOOKS)}")
    rng = np.random.default_rng([seed, 7])
    while True:
        camera = Camera(height=rng.uniform(0.5, 0.72), pitch=math.radians(rng.uniform(14, 18)))
        stood: list[Solid] = []
        for colour, shape in _names(rng, int(rng.integers(3, 7))):
            solid = _spot(rng, camera, stood, partial(_solid, rng, colour, shape))
            if solid is not None:
                stood.append(solid)
        if len(stood) >= 3:
            break
    clutter = _clutter(rng, camera, stood, *_CLUTTER[look]) if look in _CLUTTER else ()
    return Scene(seed, look, camera, tuple(stood), clutter)
