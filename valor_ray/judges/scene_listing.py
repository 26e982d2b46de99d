"""How a symbolic scene is written for a judge: a line an object, in percent, metres and the scene's unit of size."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from valor_ray.records import SceneObject, SymbolicScene


def write_scenes(scenes: Sequence[SymbolicScene], seed: str) -> str:
    """All scenes, each under its number (1-based, of `scenes`), scenes and objects in an order drawn by `seed`."""
    drawn = random.Random(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest())
    order = drawn.sample(range(len(scenes)), len(scenes))
    return "\n\n".join(_scene(number + 1, scenes[number], drawn) for number in order)


def _scene(number: int, scene: SymbolicScene, drawn: random.Random) -> str:
    objects = drawn.sample(scene.objects, len(scene.objects))
    lines = [_line(thing, scene.image_size) for thing in objects] or ["- nothing"]
    return "\n".join([f"scene {number}", *lines])


def _line(thing: SceneObject, size: tuple[int, int]) -> str:
    """- chair (colour brown): centre x 41.0 y 62.0; edges x 35.0 to 47.0, y 50.0 to 74.0; distance 2.413; …"""
    x1, x2 = (100 * at / size[0] for at in thing.bbox[0::2])
    y1, y2 = (100 * at / size[1] for at in thing.bbox[1::2])
    known = ", ".join(f"{name} {value}" for name, value in sorted(thing.attributes.items()))
    return (
        f"- {thing.noun}{f' ({known})' if known else ''}: "
        f"centre x {(x1 + x2) / 2:.1f} y {(y1 + y2) / 2:.1f}; "
        f"edges x {x1:.1f} to {x2:.1f}, y {y1:.1f} to {y2:.1f}; "
        f"distance {thing.depth_m:.3f}; height {thing.height:.4g}; width {thing.width:.4g}"
    )
