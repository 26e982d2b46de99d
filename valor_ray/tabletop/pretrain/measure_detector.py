"""How good a tabletop detector is: `python -m valor_ray.tabletop.pretrain.measure_detector FOLDER [--scenes 400]`.

Prints one JSON line a look (`--looks`: which) on held-out scenes: AP over the 32 classes, and what programs see: the
boxes that the adapter returns at the configured thresholds for the kinds of phrases they ask.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import GroundingDinoForObjectDetection

from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.measure.detection_ap import Boxes, iou_matrix, mean_ap
from valor_ray.models.grounding_dino.detector import GroundingDino
from valor_ray.records import Detection
from valor_ray.tabletop.pretrain.detector_scenes import (
    RENDER_SIDE,
    Scenes,
    caption_batch,
    encode_caption,
    render_scenes,
)
from valor_ray.tabletop.pretrain.detector_words import SHAPE_WORDS, every_class, matches, vocabulary
from valor_ray.tabletop.scenes import ALL_LOOKS, COLOURS, LOOKS, SHAPES, SPLIT_SEEDS


@torch.no_grad()
def class_ap(
    model: GroundingDinoForObjectDetection, scenes: Scenes, side: int, batch: int = 8
) -> tuple[float, float]:
    """(AP50, mAP) over the 32 classes, all asked in one caption; a class's score is the mean over its words."""
    phrases = every_class()
    _ids, spans = encode_caption(phrases, vocabulary())
    guessed: list[list[Boxes]] = [[] for _ in phrases]
    true: list[list[Boxes]] = [[] for _ in phrases]
    for start in range(0, len(scenes), batch):
        indices = range(start, min(start + batch, len(scenes)))
        asked = caption_batch(scenes, indices, phrases, side)
        out = model(pixel_values=asked.pixels, input_ids=asked.input_ids, attention_mask=asked.text_mask)
        chance = out.logits.sigmoid().numpy()
        centre, half = out.pred_boxes[..., :2], out.pred_boxes[..., 2:] / 2
        corners = torch.cat([centre - half, centre + half], -1).numpy() * RENDER_SIDE
        for row, index in enumerate(indices):
            boxes, named = scenes.objects(index)
            kinds = np.array([phrases.index(f"{colour} {SHAPE_WORDS[shape][0]}") for colour, shape in named])
            for place, span in enumerate(spans):
                scores = chance[row][:, span.start : span.stop].mean(-1)
                kept = scores > 0.01
                guessed[place].append(Boxes(corners[row][kept], scores[kept]))
                true[place].append(Boxes(boxes[kinds == place], np.ones(int((kinds == place).sum()))))
    return mean_ap(guessed, true)


@dataclass
class Tally:
    """Boxes that programs get for one kind of phrase."""

    asked: int = 0
    exact: int = 0  # phrases for which the number of boxes is right and each covers its object (IoU 0.5)
    returned: int = 0  # boxes
    right: int = 0
    true: int = 0
    height_errors: list[float] = field(default_factory=list)  # relative, of right boxes

    def add(self, boxes: Sequence[Detection], wanted: np.ndarray) -> None:
        self.asked += 1
        self.returned += len(boxes)
        self.true += len(wanted)
        right = 0
        if boxes and len(wanted):
            corners = np.array([box.bbox for box in boxes])
            overlap = iou_matrix(corners, wanted)
            for place in range(len(wanted)):
                row = int(overlap[:, place].argmax())
                if overlap[row, place] >= 0.5:
                    right += 1
                    tall = corners[row, 3] - corners[row, 1]
                    self.height_errors.append(abs(tall / (wanted[place, 3] - wanted[place, 1]) - 1))
        self.right += right
        self.exact += right == len(wanted) == len(boxes)

    def figures(self) -> dict[str, float]:
        return {
            "exact": round(self.exact / self.asked, 3),
            "precision": round(self.right / max(self.returned, 1), 3),
            "recall": round(self.right / max(self.true, 1), 3),
            "median_height_error": round(float(np.median(self.height_errors or [1.0])), 4),
        }


PhraseMaker = Callable[[np.random.Generator, Sequence[tuple[str, str]]], str]


def _present(rng: np.random.Generator, named: Sequence[tuple[str, str]]) -> str:
    colour, shape = named[int(rng.integers(len(named)))]
    return f"{colour} {SHAPE_WORDS[shape][0]}"


def _any_class(rng: np.random.Generator, _named: Sequence[tuple[str, str]]) -> str:
    return f"{COLOURS[int(rng.integers(8))]} {SHAPE_WORDS[SHAPES[int(rng.integers(4))]][0]}"


def _shape(rng: np.random.Generator, _named: Sequence[tuple[str, str]]) -> str:
    return SHAPE_WORDS[SHAPES[int(rng.integers(4))]][0]


def _colour(rng: np.random.Generator, named: Sequence[tuple[str, str]]) -> str:
    return f"{named[int(rng.integers(len(named)))][0]} object"


KINDS: dict[str, PhraseMaker] = {
    "a present class": _present,
    "any class": _any_class,
    "a shape": _shape,
    "a colour": _colour,
    "object": lambda _rng, _named: "object",
}


def program_boxes(detector: GroundingDino, scenes: Scenes) -> dict[str, dict[str, float]]:
    """What programs see, by kind of phrase, one phrase a call as the question families ask."""
    tallies = {kind: Tally() for kind in KINDS}
    rng = np.random.default_rng(5)
    for index in range(len(scenes)):
        boxes, named = scenes.objects(index)
        picture = from_array(np.array(scenes.rgb[index]))
        phrases = [make(rng, named) for make in KINDS.values()]
        answers = detector.detect([picture] * len(phrases), [[phrase] for phrase in phrases])
        for kind, phrase, seen in zip(KINDS, phrases, answers, strict=True):
            wanted = np.array([matches(phrase, *name) for name in named])
            tallies[kind].add(seen, boxes[wanted])
    return {kind: tally.figures() for kind, tally in tallies.items()}


def measure(
    folder: Path, count: int, looks: Sequence[str] = LOOKS, first: int = 0
) -> dict[str, dict[str, object]]:
    """Figures by look on `count` held-out scenes from the first on."""
    config = Config.load("local", [f"detector.model={folder}"]).detector
    detector = GroundingDino(config)
    figures: dict[str, dict[str, object]] = {}
    for look in looks:
        scenes = render_scenes(SPLIT_SEEDS["held_out"].start + first, count, look)
        ap50, full = class_ap(detector.model, scenes, detector.input_side)
        programs = program_boxes(detector, scenes)
        figures[look] = {"scenes": count, "ap50": round(ap50, 4), "map": round(full, 4), "programs": programs}
        print(json.dumps({look: figures[look]}), flush=True)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=400, help="held-out scenes a look")
    parser.add_argument("--first", type=int, default=0, help="held-out scene to begin with (default 0)")
    parser.add_argument(
        "--looks", nargs="+", choices=ALL_LOOKS, default=LOOKS, metavar="NAME", help=", ".join(ALL_LOOKS)
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    measure(options.folder, options.scenes, options.looks, options.first)


if __name__ == "__main__":
    main()
