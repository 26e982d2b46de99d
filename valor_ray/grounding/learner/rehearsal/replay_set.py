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
from valor_ray.models.grounding_dino.boxes import Thresholds, phrase_scores, unsuppressed
from valor_ray.models.grounding_dino.detector import GroundingDino, Scored
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.records import BBox

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
    files = sorted(path for path in pictures.rglob("*") if _picture(path))
    files = files[: config.finetune.replay_limit]
    asked = sorted({normal_form(phrase) for phrase in phrases} - {""})
    if not files:
        raise ConfigError(
            f"finetune.replay_pictures {pictures} holds no picture (.jpg, .png, .webp). Give another "
            "folder, or --set finetune.replay=0."
        )
    say(f"detecting on {len(files)} pictures to rehearse")
    part, boxes = out.with_name(out.name + ".part"), 0
    with writing(out):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        with (part / TRAIN).open("w", encoding="utf-8") as lines:
            for image in _images(config, files, asked, say):
                lines.write(json.dumps(image.to_record()) + "\n")
                boxes += len(image.positives)
        about = {
            "root": os.path.abspath(pictures),
            "synonyms": [],
            "next_image_id": len(files) + 1,
            "counts": {"images": len(files), "positives": boxes},
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
    detector = GroundingDino(config.detector.model_copy(update={"num_gpus": config.finetune.num_gpus}))
    sure = Thresholds(config.detector.box_threshold, config.detector.text_threshold)
    size = config.detector.max_batch
    for start in range(0, len(files), size):
        loaded = [_load(path, config) for path in files[start : start + size]]
        asked = [_drawn(phrases, picture.key, config.finetune.seed) for picture in loaded]
        views: list[list[Scored]] = [[] for _ in loaded]
        for scored in detector.score(loaded, asked):
            views[scored.picture].append(scored)
        for place, picture in enumerate(loaded):
            yield _image(start + place + 1, files[start + place], picture, views[place], sure)
        if (start + size) % _EVERY < size:
            say(f"{min(start + size, len(files))} of {len(files)} pictures to rehearse")


def _picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


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
    number: int, path: Path, picture: Picture, views: Sequence[Scored], sure: Thresholds
) -> TrainingImage:
    positives: list[Region] = []
    ignored: list[Region] = []
    absent: list[str] = []
    for view in views:
        best, mean = phrase_scores(view.chances, view.caption)
        boxes = view.boxes.clip(0, [picture.width, picture.height] * 2)
        for place, phrase in enumerate(view.caption.phrases):
            rows = _shown(boxes, best[:, place], mean[:, place])
            right = (best[rows, place] >= sure.box) & (mean[rows, place] >= sure.text)
            positives += [Region(_bbox(boxes[row]), phrase) for row in rows[right]]
            ignored += [Region(_bbox(boxes[row]), phrase, "weak") for row in rows[~right]]
            # a phrase of which one word shows and no box does is left alone: "cone left of the box"
            if not len(rows) and best[:, place].max() < sure.box:
                absent.append(phrase)
    return TrainingImage(
        image_id=number,
        key=picture.key,
        filename=str(path.absolute()),
        width=picture.width,
        height=picture.height,
        copied=False,
        positives=tuple(positives),
        absent=tuple(absent),
        hard_negatives=(),
        ignored=tuple(ignored),
    )


def _shown(boxes: np.ndarray, best: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rows of a phrase's boxes, best first. Other phrases do not matter: one object may bear several names."""
    wide = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
    rows = np.flatnonzero((best >= LOWEST) & (mean >= LOWEST) & wide)
    rows = rows[np.argsort(-best[rows], kind="stable")]
    return rows[unsuppressed(boxes[rows])] if len(rows) else rows


def _bbox(sides: np.ndarray) -> BBox:
    x1, y1, x2, y2 = (round(float(side), 1) for side in sides)
    return (x1, y1, x2, y2)
