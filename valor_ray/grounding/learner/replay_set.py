"""The replay set: the start detector's own boxes on unlabelled general pictures, in the layout of a mined set.

Fine-tuning rehearses them, so that what the detector could do before is not forgotten. They are its opinion and no
truth: its boxes above its own threshold are positives, weaker ones are ignored, all else is background.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from valor_ray import images
from valor_ray.errors import ConfigError, ImageError
from valor_ray.grounding.dataset.captions import caption_rng
from valor_ray.grounding.dataset.files import writing
from valor_ray.grounding.dataset.negatives import Region
from valor_ray.grounding.dataset.training import ABOUT, TRAIN, TrainingImage
from valor_ray.grounding.learner.examples import COMPLETE
from valor_ray.models.grounding_dino.detector import GroundingDino
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.records import Detection

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.records import Picture

PHRASES_A_PICTURE = 12
LOWEST = 0.1  # score from which a box of the start detector is not background
_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))
_EVERY = 50  # pictures to a line of progress


def make_replay(
    config: Config, pictures: Path, phrases: Sequence[str], out: Path, say: Callable[[str], None]
) -> Path:
    """Detect on the folder's pictures (the first `finetune.replay_limit` in order of name) and write the set to `out`.

    Called once a run by the first learner process before it learns; blocks for the detections. A picture's phrases are
    drawn from `phrases` by `finetune.seed`. One that is there is not made again. Raises ConfigError: no picture.
    """
    if (out / ABOUT).exists():
        return out
    files = sorted(path for path in pictures.rglob("*") if path.suffix.lower() in _SUFFIXES)
    files = files[: config.finetune.replay_limit]
    asked = sorted({normal_form(phrase) for phrase in phrases} - {""})
    if not files:
        raise ConfigError(
            f"finetune.replay_pictures {pictures} holds no picture (.jpg, .png, .webp). Give another "
            "folder, or --set finetune.replay=0."
        )
    say(f"detecting on {len(files)} pictures to rehearse")
    part = out.with_name(out.name + ".part")
    with writing(out):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        with (part / TRAIN).open("w", encoding="utf-8") as lines:
            for image in _images(config, files, asked, say):
                lines.write(json.dumps(image.to_record()) + "\n")
        about = {
            "root": os.path.abspath(pictures),
            "synonyms": [],
            "next_image_id": len(files) + 1,
            COMPLETE: True,
        }
        (part / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    return out


def _images(
    config: Config, files: Sequence[Path], phrases: Sequence[str], say: Callable[[str], None]
) -> Iterator[TrainingImage]:
    if config.finetune.threads is not None:
        torch.set_num_threads(config.finetune.threads)
    detector = GroundingDino(config.detector)
    size = config.detector.max_batch
    for start in range(0, len(files), size):
        loaded = [_load(path, config) for path in files[start : start + size]]
        asked = [_drawn(phrases, picture.key, config.finetune.seed) for picture in loaded]
        boxes = detector.detect(loaded, asked, LOWEST)
        for place, picture in enumerate(loaded):
            path = files[start + place]
            yield _image(
                start + place + 1, path, picture, asked[place], boxes[place], config.detector.box_threshold
            )
        if (start + size) % _EVERY < size:
            say(f"{min(start + size, len(files))} of {len(files)} pictures to rehearse")


def _load(path: Path, config: Config) -> Picture:
    try:
        return images.load(path, config.images)
    except ImageError as error:
        raise ConfigError(f"finetune.replay_pictures, {path}: {error} Or remove it.") from error


def _drawn(phrases: Sequence[str], key: str, seed: int) -> list[str]:
    rng = caption_rng(seed, 0, key)
    places = rng.permutation(len(phrases))[:PHRASES_A_PICTURE]
    return [phrases[place] for place in np.sort(places)]


def _image(
    number: int, path: Path, picture: Picture, asked: Sequence[str], boxes: Sequence[Detection], sure: float
) -> TrainingImage:
    shown = {box.label for box in boxes}
    return TrainingImage(
        image_id=number,
        key=picture.key,
        filename=str(path.absolute()),
        width=picture.width,
        height=picture.height,
        copied=True,  # whatever EXIF says: the reader turns it as it was turned here
        positives=tuple(Region(box.bbox, box.label) for box in boxes if box.score >= sure),
        absent=tuple(phrase for phrase in asked if phrase not in shown),
        hard_negatives=(),
        ignored=tuple(Region(box.bbox, box.label, "weak") for box in boxes if box.score < sure),
    )
