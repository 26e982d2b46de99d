"""The part `finetune`: GroundingDINO of the published size through our fine-tuning, on one batch again and again."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from valor_ray.config.tree import Config
from valor_ray.perf.gpu import shapes
from valor_ray.perf.gpu.attempt import Say
from valor_ray.perf.gpu.card import Card, most_memory_gib, start_counting_memory
from valor_ray.perf.gpu.eyes import picture_sides, write_detector

if TYPE_CHECKING:
    from valor_ray.grounding.dataset.training import TrainingImage

BATCH = 2  # pictures a step, as the paper has on a GPU; one more is rehearsed, as the profile has it
STEPS = 6  # the first warms up
# A whole run warms up for 100 steps. These few start at ten times the profile's highest rate: the weights are random.
_RATE = 1e-4
_PHRASES = ("orange cone", "green cylinder", "red ball")
_COLOURS = ((230, 120, 20), (40, 160, 60), (200, 30, 40))


def check_finetune(card: Card, tiny: bool, say: Say) -> dict[str, Any]:
    """Seconds and memory of a step of `grounding.learner.learn`, and the loss of the first and the last.

    {"skipped"} where scipy, which pairs predictions with boxes, is not installed. Raises RuntimeError: the loss of the
    batch has not fallen, so that something does not learn.
    """
    if find_spec("scipy") is None:
        say("finetune: skipped, without scipy")
        return {"skipped": "not installed: scipy"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = write_detector(shapes.detector(tiny), folder / "model", tiny)
        sides = picture_sides(tiny)
        write_set(folder / "set", sides)
        write_set(folder / "replay", sides, first=BATCH + 2)
        config = settings(card, folder / "model")
        pictures = BATCH + config.finetune.replayed
        say(f"finetune: {parameters / 1e6:.0f} M parameters, {STEPS} steps of {pictures} pictures")
        start_counting_memory(card)
        records, rest_s = _run(config, folder)
        memory = most_memory_gib(card)
    (first, before), (last, after) = ((record, _learnt(record)) for record in (records[0], records[-1]))
    if after >= before:
        raise RuntimeError(
            f"the loss of the same {BATCH} pictures went from {before} to {after} in {STEPS} steps"
        )
    step_s = statistics.median(record["seconds"] for record in records[1:])
    return {
        "shape": "tabletop:detector" if tiny else "IDEA-Research/grounding-dino-tiny",
        "parameters": parameters,
        "pictures": {"count": BATCH, "rehearsed": pictures - BATCH, "height": sides[0], "width": sides[1]},
        "dtype": "float32",
        "steps": len(records),
        "step_s": round(step_s, 3),
        "pictures_per_s": round(pictures / step_s, 2),
        "memory_gib": memory,
        "boxes": first["boxes"],
        "loss": before,
        "loss_last": after,
        "replay_loss_last": round(last["loss"] - after, 6),
        "grad_norm": first["grad_norm"],
        "rest_s": round(rest_s, 1),  # loading, one checkpoint, both forms of the weights written
    }


def settings(card: Card, model: Path) -> Config:
    """The profile `gpu` in one process; the same batch at each step."""
    return Config.load(
        "gpu",
        [
            f"detector.model={model}",
            f"finetune.num_gpus={int(card.on_gpu)}",
            "finetune.workers=1",
            f"finetune.batch={BATCH}",
            f"finetune.steps={STEPS}",
            f"finetune.save_every={STEPS}",
            "finetune.warmup_steps=0",
            f"finetune.learning_rate={_RATE}",
            f"finetune.final_learning_rate={_RATE}",
            "finetune.flip=0",
        ],
    )


def _learnt(record: Mapping[str, Any]) -> float:
    """The loss of a step without rehearsal's parts, which begin at 0."""
    from valor_ray.grounding.learner.loss import REPLAY

    return round(sum(value for name, value in record["parts"].items() if not name.startswith(REPLAY)), 6)


def _run(config: Config, folder: Path) -> tuple[list[Mapping[str, Any]], float]:
    """A record of each step, and the seconds that were not spent in steps."""
    from valor_ray.grounding.learner.learn import LearnTask, learn

    records: list[Mapping[str, Any]] = []
    begun = time.monotonic()
    learn(LearnTask(config, folder / "set", folder / "replay", folder / "run"), _unsaid, records.append)
    return records, time.monotonic() - begun - sum(record["seconds"] for record in records)


def _unsaid(_text: str) -> None:
    """The learner's own lines: the check says what it does itself."""


def write_set(folder: Path, sides: tuple[int, int], first: int = 1) -> None:
    """A verified set of `BATCH` pictures and the one that the learner holds back: three coloured boxes on noise each.

    sides: height and width of the pictures, px. first: number of the first picture, of which it is drawn.
    """
    from valor_ray.grounding.dataset.training import ABOUT, TRAIN

    folder.mkdir(parents=True)
    entries = [_entry(folder, number, sides) for number in range(first, first + BATCH + 1)]
    (folder / TRAIN).write_text("".join(json.dumps(entry.to_record()) + "\n" for entry in entries))
    about = {"root": ".", "synonyms": [], "next_image_id": first + len(entries)}
    (folder / ABOUT).write_text(json.dumps(about))


def _entry(folder: Path, number: int, sides: tuple[int, int]) -> TrainingImage:
    """One picture, written as a PNG, and its line of the set."""
    from valor_ray.grounding.dataset.negatives import Region
    from valor_ray.grounding.dataset.training import TrainingImage
    from valor_ray.images import from_array, to_png

    draw = np.random.default_rng(number)
    height, width = sides
    rgb = draw.integers(90, 160, (height, width, 3), dtype=np.uint8)
    boxes = _boxes(draw, height, width)
    for (x1, y1, x2, y2), colour in zip(boxes, _COLOURS, strict=True):
        rgb[y1:y2, x1:x2] = colour
    picture = from_array(rgb)
    name = f"{number}.png"
    (folder / name).write_bytes(to_png(picture))
    return TrainingImage(
        image_id=number,
        key=picture.key,
        filename=name,
        width=width,
        height=height,
        copied=False,
        positives=tuple(
            Region((float(x1), float(y1), float(x2), float(y2)), phrase)
            for (x1, y1, x2, y2), phrase in zip(boxes, _PHRASES, strict=True)
        ),
        absent=("blue cone",),
        hard_negatives=(),
        ignored=(),
    )


def _boxes(draw: np.random.Generator, height: int, width: int) -> Sequence[tuple[int, int, int, int]]:
    """One in each third of the picture, x1, y1, x2, y2 px."""
    third = width // len(_PHRASES)
    boxes = []
    for place in range(len(_PHRASES)):
        wide, tall = (int(draw.integers(side // 4, side // 2)) for side in (third, height))
        left, top = place * third + int(draw.integers(third - wide)), int(draw.integers(height - tall))
        boxes.append((left, top, left + wide, top + tall))
    return boxes
