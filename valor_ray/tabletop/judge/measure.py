"""`python -m valor_ray.tabletop.judge.measure`: how often the offline judge is right, by look, on held-out scenes."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np

from valor_ray.tabletop.judge.vqa import answer
from valor_ray.tabletop.render import Rendering, render
from valor_ray.tabletop.scenes import ALL_LOOKS, COLOURS, LOOKS, SHAPES, SPLIT_SEEDS, sample_scene

_JPEG = 92  # as judge.jpeg_quality
_VISIBLE = 0.4  # share of an object that must be visible for crop questions
_PADDINGS = (0.0, 0.1)

VqaCase = tuple[str, np.ndarray, str, str]  # kind, pixels, question, right answer


def crop_questions(rendering: Rendering, rng: np.random.Generator) -> Iterator[VqaCase]:
    """Colour, shape and claims about each visible object, in its true box, tight or padded."""
    for thing in rendering.objects:
        if thing.visible < _VISIBLE:
            continue
        x1, y1, x2, y2 = thing.bbox
        pad = float(rng.choice(_PADDINGS))
        wide, tall = pad * (x2 - x1), pad * (y2 - y1)
        crop = rendering.rgb[max(0, int(y1 - tall)) : int(y2 + tall), max(0, int(x1 - wide)) : int(x2 + wide)]
        yield "colour", crop, "What colour is this object?", thing.colour
        yield "shape", crop, "What shape is this object?", thing.shape
        other = f"{rng.choice(COLOURS)} {rng.choice(SHAPES)}"
        claim = thing.label if rng.random() < 0.5 else other
        yield "claim", crop, f"Is this a {claim}?", "yes" if claim == thing.label else "no"


def scene_questions(rendering: Rendering, rng: np.random.Generator) -> Iterator[VqaCase]:
    """Counting and existence in the whole picture."""
    shown = Counter(thing.label for thing in rendering.objects)
    shape = str(rng.choice(SHAPES))
    number = sum(thing.shape == shape for thing in rendering.objects)
    yield "count", rendering.rgb, f"How many {shape}{'es' if shape == 'box' else 's'} are there?", str(number)
    yield "count all", rendering.rgb, "How many objects are there?", str(len(rendering.objects))
    asked = (
        str(rng.choice(list(shown))) if rng.random() < 0.5 else f"{rng.choice(COLOURS)} {rng.choice(SHAPES)}"
    )
    yield "existence", rendering.rgb, f"Is there a {asked} in the picture?", "yes" if asked in shown else "no"


def measure(look: str, scenes: int, first: int = 0) -> dict[str, str]:
    """Share right (and number asked) of each kind of question over held-out scenes of one look, from the first on."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for seed in SPLIT_SEEDS["held_out"][first : first + scenes]:
        rendering = render(sample_scene(seed, look))
        rng = np.random.default_rng([seed, 23])
        for kind, pixels, question, truth in [
            *crop_questions(rendering, rng),
            *scene_questions(rendering, rng),
        ]:
            asked[kind] += 1
            right[kind] += answer(_as_sent(pixels), question) == truth
    return {kind: f"{right[kind] / asked[kind]:.3f} of {asked[kind]}" for kind in asked}


def _as_sent(pixels: np.ndarray) -> np.ndarray:
    """What arrives after the JPEG coding of a request."""
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def main() -> None:
    parser = argparse.ArgumentParser(prog="measure", description="Accuracy of the offline judge by look.")
    parser.add_argument("--scenes", type=int, default=100, help="held-out scenes per look")
    parser.add_argument("--first", type=int, default=0, help="held-out scene to begin with (default 0)")
    parser.add_argument(
        "--looks", nargs="+", choices=ALL_LOOKS, default=LOOKS, metavar="NAME", help=", ".join(ALL_LOOKS)
    )
    args = parser.parse_args()
    for look in args.looks:
        print(json.dumps({"look": look, **measure(look, args.scenes, args.first)}), flush=True)


if __name__ == "__main__":
    main()
