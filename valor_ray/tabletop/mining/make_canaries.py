"""Makes the canaries of the vision verifier's audit: python -m valor_ray.tabletop.mining.make_canaries

Tabletop scenes of split train in the seen looks, each with boxes whose verdicts nobody can doubt. This is the only
place where their truth is used; what ships are pictures and expectations (judges/boxes/canaries/).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.records import BBox
from valor_ray.tabletop.render import RenderedObject, Rendering, render
from valor_ray.tabletop.scenes import COLOURS, SEEN_LOOKS, SHAPES, SPLIT_SEEDS, sample_scene

FOLDER = Path(__file__).parents[2] / "judges" / "boxes" / "canaries"
PICTURES = 6
SIDE = 256  # px
_CLEAR = 14  # px from the picture's edge: canaries come in variants with a few px cut off
_HALVED = (
    "ball",
    "cone",
    "cylinder",
    "box",
)  # half a ball is the plainest, half a box still looks like a box
_GOOD = {"coarse": True, "crops": True}
_BAD = {"coarse": False, "crops": False}


def main() -> None:
    """Writes the pictures and canaries.jsonl. The same arguments give the same files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=FOLDER)
    options.add_argument(
        "--seed", type=int, default=SPLIT_SEEDS["train"].stop - 5000, help="first scene's seed"
    )
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    seed = given.seed
    while len(lines) < PICTURES:
        look = SEEN_LOOKS[len(lines) % len(SEEN_LOOKS)]
        rendering = render(sample_scene(seed, look), SIDE)
        boxes = canary_boxes(rendering, np.random.default_rng([seed, 17]))
        if boxes:
            name = f"{look}-{seed}.png"
            Image.fromarray(rendering.rgb).save(given.out / name, optimize=True)
            lines.append(json.dumps({"canary_id": f"{look}-{seed}", "image": name, "boxes": boxes}))
        seed += 1
    (given.out / "canaries.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def canary_boxes(rendering: Rendering, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A box of each kind, good ones first mixed in; [] when the scene does not hold what they need."""
    things = [thing for thing in rendering.objects if thing.visible > 0.97 and _clear(thing.bbox)]
    if len(things) < 4 or len({thing.label for thing in rendering.objects}) < len(rendering.objects):
        return []
    empty = _empty(rendering, rng)
    oversized = next(
        (_around(thing.bbox, 1.1) for thing in things if _clear(_around(thing.bbox, 1.1), 0)), None
    )
    large = max(things, key=lambda thing: _area(thing.bbox))
    rest = [thing for thing in things if thing is not large]
    halved = min(rest, key=lambda thing: _HALVED.index(thing.shape))
    if empty is None or oversized is None:
        return []
    oversized_label = next(thing.label for thing in things if _around(thing.bbox, 1.1) == oversized)
    boxes = [_row(thing.bbox, thing.label, "good", _GOOD) for thing in rest]
    boxes += [
        _row(large.bbox, large.label, "good", {**_GOOD, "duplicates": True}),
        _row(_around(large.bbox, 0.07), large.label, "doubled", {"duplicates": False}),
        _row(_shifted(rest[0].bbox), rest[0].label, "shifted", _BAD),
        _row(rest[1].bbox, _wrong_label(rest[1], rendering), "wrong_label", _BAD),
        _row(_half(halved), halved.label, "half", _BAD),
        _row(empty, rest[0].label, "empty", _BAD),
        _row(oversized, oversized_label, "oversized", _BAD),
    ]
    return [boxes[at] for at in rng.permutation(len(boxes))]


def _row(bbox: BBox, label: str, kind: str, expected: dict[str, bool]) -> dict[str, Any]:
    sides = [round(float(side), 1) for side in bbox]
    score = 0.6 if kind == "good" else 0.4
    return {"bbox": sides, "label": label, "score": score, "kind": kind, "expected": expected}


def _clear(bbox: BBox, margin: int = _CLEAR) -> bool:
    return min(bbox[:2]) >= margin and max(bbox[2:]) <= SIDE - margin


def _area(bbox: BBox) -> float:
    return (bbox[2] - bbox[0]) * (bbox[3] - bbox[1])


def _around(bbox: BBox, share: float) -> BBox:
    """The box with `share` of its sides more on each side."""
    wide, high = share * (bbox[2] - bbox[0]), share * (bbox[3] - bbox[1])
    return bbox[0] - wide, bbox[1] - high, bbox[2] + wide, bbox[3] + high


def _shifted(bbox: BBox) -> BBox:
    """Moved by two thirds of its width to the side where there is more room."""
    step = (bbox[2] - bbox[0]) * (0.66 if bbox[0] + bbox[2] < SIDE else -0.66)
    return bbox[0] + step, bbox[1], bbox[2] + step, bbox[3]


def _half(thing: RenderedObject) -> BBox:
    """The left half of a cone, whose tip looks like a cone; else the half across the longer side."""
    x1, y1, x2, y2 = thing.bbox
    if thing.shape == "cone" or x2 - x1 > y2 - y1:
        return x1, y1, (x1 + x2) / 2, y2
    return x1, y1, x2, (y1 + y2) / 2


def _wrong_label(thing: RenderedObject, rendering: Rendering) -> str:
    """Another colour and another shape, of no object of the scene."""
    shape = SHAPES[(SHAPES.index(thing.shape) + 2) % len(SHAPES)]
    present = {(other.colour, other.shape) for other in rendering.objects}
    start = COLOURS.index(thing.colour) + 3
    turned = [COLOURS[(start + step) % len(COLOURS)] for step in range(len(COLOURS))]
    colour = next(each for each in turned if each != thing.colour and (each, shape) not in present)
    return f"{colour} {shape}"


def _empty(rendering: Rendering, rng: np.random.Generator) -> BBox | None:
    """A box of an object's size that touches no object."""
    taken = np.array([thing.bbox for thing in rendering.objects])
    for _ in range(200):
        side = rng.uniform(30, 55)
        x, y = rng.uniform(_CLEAR, SIDE - _CLEAR - side, 2)
        box = (float(x), float(y), float(x + side), float(y + side))
        if iou_matrix(np.array([_around(box, 0.15)]), taken).max() == 0:
            return box
    return None


if __name__ == "__main__":
    main()
