"""Boxes with what they frame, for fitting: scenes of the train split, in the seen looks and in looks drawn at random.

Neither the looks that the verifier is measured on (lamp, quilt) nor those of its development (dusk, loud) are rendered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.judges.boxes.pictures import crop_window as crop_corners
from valor_ray.models.grounding_dino.detector import GroundingDino
from valor_ray.models.shipped import on_bases
from valor_ray.tabletop.judge.boxes.fitting.varied import varied_scene
from valor_ray.tabletop.judge.boxes.geometry import Box, overlap, placed
from valor_ray.tabletop.judge.boxes.sight import PADDING, Window, crop_window, window
from valor_ray.tabletop.judge.fit import repaint, with_clutter, wrong_boxes
from valor_ray.tabletop.judge.scene import propose
from valor_ray.tabletop.judge.sight import COLOURS, SHAPES
from valor_ray.tabletop.render import RenderedObject, Rendering, render
from valor_ray.tabletop.scenes import SEEN_LOOKS, SPLIT_SEEDS, Scene, sample_scene

FIRST_SEED = SPLIT_SEEDS["train"].start + 800_000
_VARIED = 0.75  # share of the scenes in a look drawn at random; half of the others are repainted
_LEAST = 5  # px, of a box's sides
_NAMED = 0.35  # overlap from which a box is asked what it shows
_PLACED = 0.2  # and where its object's edges are
_SPREADS = (0.02, 0.06, 0.12, 0.2, 0.3)  # of the box's sides: how far a detector's box may be off
_CANDIDATE = 0.1  # score, as grounding.box_threshold
_SENT_SIDE = 768  # px, as small pictures are sent


@dataclass(frozen=True)
class Framed:
    """Boxes and what they frame, n of them."""

    pixels: np.ndarray  # uint8 (n, SIDE, SIDE, 4): Window.pixels
    aspect: np.ndarray  # float32 (n,)
    overlap: np.ndarray  # float32 (n,): intersection over union with the best object
    edges: (
        np.ndarray
    )  # float32 (n, 4): that object's edges less the box's, in the box's sides; NaN: not to be asked
    shape: np.ndarray  # int64 (n,): index in SHAPES, -1: not to be asked
    colour: np.ndarray  # int64 (n,): index in COLOURS, -1: not to be asked


Row = tuple[Window, float, tuple[float, ...], int, int]


def make_boxes(scenes: int, first_seed: int = FIRST_SEED) -> Framed:
    """Boxes of `scenes` scenes; about a tenth of a second of CPU each."""
    config, _ = on_bases(Config.load())
    detector = GroundingDino(config.detector)
    rows: list[Row] = []
    for seed in range(first_seed, first_seed + scenes):
        rng = np.random.default_rng([seed, 29])
        scene, rendering, rgb = _sighting(seed, rng)
        rows += _rows(scene, rendering, rgb, detector, rng)
    windows, fits, edges, shape, colour = zip(*rows, strict=True)
    return Framed(
        np.stack([each.pixels for each in windows]),
        np.array([each.aspect for each in windows], np.float32),
        np.array(fits, np.float32),
        np.array(edges, np.float32),
        np.array(shape),
        np.array(colour),
    )


def _sighting(seed: int, rng: np.random.Generator) -> tuple[Scene, Rendering, np.ndarray]:
    """A scene, its rendering, and the picture of it that boxes are looked at in."""
    if rng.random() < _VARIED:
        scene, look = varied_scene(seed, rng)
        rendering = render(scene, look=look)
        return scene, rendering, rendering.rgb
    own = SEEN_LOOKS[seed % len(SEEN_LOOKS)]
    # dusk only for its clutter's places
    scene = dataclasses.replace(sample_scene(seed, "dusk" if rng.random() < 0.7 else own), look=own)
    rendering = render(scene)
    painted = rng.random() < 0.5
    return (
        scene,
        rendering,
        repaint(rendering.rgb, with_clutter(scene, rendering), rng) if painted else rendering.rgb,
    )


def _rows(
    scene: Scene, rendering: Rendering, rgb: np.ndarray, detector: GroundingDino, rng: np.random.Generator
) -> Iterator[Row]:
    """Windows on boxes of every kind in one picture, as a verifier gets to see them."""
    sent, scale = _as_sent(rgb, rng)
    boxes = [
        *_near(rendering, rng),
        *_parts(rendering, rng),
        *wrong_boxes(scene, rendering, rng),
        *_proposed(rendering, rgb, rng),
        *_detected(rendering, rgb, detector, rng),
    ]
    size = len(rgb)
    for box in boxes:
        x1, y1, x2, y2 = (min(max(edge, 0.0), float(size)) for edge in box)
        if min(x2 - x1, y2 - y1) < _LEAST:
            continue
        inside = (x1, y1, x2, y2)
        known = truth(inside, rendering.objects)
        yield (window(sent, (x1 * scale, y1 * scale, x2 * scale, y2 * scale)), *known)
        left, top, right, bottom = crop_corners(inside, size, size, PADDING)
        clipped = left == 0 or top == 0 or right == size or bottom == size
        if clipped or rng.random() < 0.15:
            yield (crop_window(rgb[top:bottom, left:right]), *known)


def truth(box: Box, objects: tuple[RenderedObject, ...]) -> tuple[float, tuple[float, ...], int, int]:
    """Overlap with the best object, its edges, shape and colour."""
    best = max(objects, key=lambda thing: overlap(box, thing.bbox))
    fit = overlap(box, best.bbox)
    wide, tall = box[2] - box[0], box[3] - box[1]
    sides = (wide, tall, wide, tall)
    edges = tuple((there - here) / side for there, here, side in zip(best.bbox, box, sides, strict=True))
    named = fit >= _NAMED
    return (
        fit,
        edges if fit >= _PLACED else (np.nan,) * 4,
        SHAPES.index(best.shape) if named else -1,
        COLOURS.index(best.colour) if named else -1,
    )


def _near(rendering: Rendering, rng: np.random.Generator) -> Iterator[Box]:
    """Boxes of objects, tight and less so; pairs of neighbours in one box."""
    for thing in rendering.objects:
        x1, y1, x2, y2 = thing.bbox
        sides = np.array([x2 - x1, y2 - y1, x2 - x1, y2 - y1])
        for spread in rng.choice(_SPREADS, 3):
            yield _box(np.array(thing.bbox) + rng.normal(0, spread, 4) * sides)
    for a, b in zip(rendering.objects, rendering.objects[1:], strict=False):
        if rng.random() < 0.3:
            yield _box(
                np.concatenate([np.minimum(a.bbox[:2], b.bbox[:2]), np.maximum(a.bbox[2:], b.bbox[2:])])
            )


def _parts(rendering: Rendering, rng: np.random.Generator) -> Iterator[Box]:
    """A third to two thirds of each object, mostly from one of its edges on."""
    for thing in rendering.objects:
        share = rng.uniform(0.3, 0.65, 2)
        first = (1 - share) * np.where(rng.random(2) < 0.8, rng.integers(0, 2, 2), rng.random(2))
        if rng.random() < 0.6:  # the whole extent the other way
            whole = int(rng.integers(2))
            first[whole], share[whole] = 0.0, 1.0
        x, y = (float(each) for each in first)
        yield placed(thing.bbox, (x, y, x + float(share[0]), y + float(share[1])))


def _detected(
    rendering: Rendering, rgb: np.ndarray, detector: GroundingDino, rng: np.random.Generator
) -> Iterator[Box]:
    """Candidates of the shipped detector, for things that are there and others: hits, and more of the misses."""
    present = [f"{thing.colour} {thing.shape}" for thing in rendering.objects]
    drawn = [f"{rng.choice(COLOURS)} {rng.choice(SHAPES)}" for _ in range(3)]
    asked = [*rng.permutation(present)[:2], *drawn, str(rng.choice([*SHAPES, "object"]))]
    left = {True: 4, False: 10}
    for box in detector.detect([from_array(rgb)], [[str(each) for each in asked]], _CANDIDATE)[0]:
        hit = max(overlap(box.bbox, thing.bbox) for thing in rendering.objects) >= 0.5
        if left[hit]:
            left[hit] -= 1
            yield box.bbox


def _proposed(rendering: Rendering, rgb: np.ndarray, rng: np.random.Generator) -> Iterator[Box]:
    """Regions of even colour: some that are objects, more that are none."""
    left = {True: 2, False: 6}
    for place in rng.permutation(len(regions := propose(rgb))):
        box = _box(np.array(regions[place]) + rng.normal(0, 1.5, 4))
        hit = max(overlap(box, thing.bbox) for thing in rendering.objects) >= 0.5
        if left[hit]:
            left[hit] -= 1
            yield box


def _box(corners: np.ndarray) -> Box:
    x1, y1, x2, y2 = (float(edge) for edge in corners)
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _as_sent(rgb: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """The picture as it arrives, and its scale: half of them scaled up and JPEG-coded."""
    if rng.random() < 0.5:
        return rgb, 1.0
    large = cv2.resize(rgb, (_SENT_SIDE, _SENT_SIDE), interpolation=cv2.INTER_CUBIC)
    _, data = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 96))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), _SENT_SIDE / len(rgb)
