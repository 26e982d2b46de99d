"""COCO mAP of a detector on the general set, by faster-coco-eval: 101 recall points, IoU 0.50 to 0.95."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from valor_ray import images
from valor_ray.errors import ConfigError, ImageError
from valor_ray.grounding.gate.general import GeneralImage, GeneralSet
from valor_ray.models.grounding_dino.ranking import Ranked, rank
from valor_ray.records import Picture

if TYPE_CHECKING:
    from valor_ray.models.grounding_dino.detector import GroundingDino

_PAIRS = 300  # boxes a picture that are ranked, as in the published evaluation
_MOST = 100  # of one category in one picture that count, as COCO has it
_LOADED = 32  # pictures in memory at a time
_LINES = 10  # of progress


@dataclass(frozen=True)
class GeneralScore:
    """How well a detector does on the general set, in points (0..100)."""

    map: float  # mean over IoU 0.50…0.95 and the categories that the set holds
    ap50: float
    by_category: dict[str, float]  # mean over IoU 0.50…0.95; categories without a box are not in it
    pictures: int


def general_map(detector: GroundingDino, general: GeneralSet, say: Callable[[str], None]) -> GeneralScore:
    """Ask for every category by name in every picture, and score the answers.

    Blocks for all forward passes; pictures of a size come together, a few are in memory at a time. Raises ConfigError
    when a picture can no longer be read.
    """
    total = len(general.images)
    order = sorted(range(total), key=lambda place: _size(general.images[place]))
    ranked: dict[int, Ranked] = {}
    for start in range(0, total, _LOADED):
        chunk = order[start : start + _LOADED]
        pictures = [_load(general, place) for place in chunk]
        ranked.update(zip(chunk, rank(detector, pictures, general.categories, _PAIRS), strict=True))
        if len(ranked) * _LINES // total > start * _LINES // total:
            say(f"general set: {len(ranked)} of {total} pictures")
    return score_general(general, [ranked[place] for place in range(total)])


def score_general(general: GeneralSet, ranked: Sequence[Ranked]) -> GeneralScore:
    """The scores of boxes in each picture of the set, `places` being those of its categories."""
    precision = _precision(general, ranked)  # (IoUs, recalls, categories), -1 where a category has no box
    by_category = {
        name: float(precision[:, :, place].mean() * 100)
        for place, name in enumerate(general.categories)
        if (precision[:, :, place] > -1).all()
    }
    fifty = precision[0][precision[0] > -1].mean() * 100
    return GeneralScore(
        math.fsum(by_category.values()) / len(by_category), float(fifty), by_category, len(general.images)
    )


def _precision(general: GeneralSet, ranked: Sequence[Ranked]) -> np.ndarray:
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(_truth(general), print_function=_quiet)
    run = COCOeval_faster(truth, truth.loadRes(_answers(ranked)), "bbox", print_function=_quiet)
    run.params.maxDets = [_MOST]
    run.params.areaRng, run.params.areaRngLbl = run.params.areaRng[:1], run.params.areaRngLbl[:1]  # all sizes
    run.evaluate()
    run.accumulate()
    return np.asarray(run.eval["precision"])[:, :, :, 0, 0]


def _truth(general: GeneralSet) -> dict[str, Any]:
    """COCO instances with ids of our own, which count from 1: a match with box 0 would count as none."""
    return {
        "images": [
            {"id": number, "width": each.width, "height": each.height}
            for number, each in enumerate(general.images, start=1)
        ],
        "categories": [
            {"id": number, "name": name} for number, name in enumerate(general.categories, start=1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": box.image + 1,
                "category_id": box.category + 1,
                "bbox": list(box.bbox),
                "area": box.bbox[2] * box.bbox[3],
                "iscrowd": int(box.crowd),
            }
            for number, box in enumerate(general.boxes, start=1)
        ],
    }


def _answers(ranked: Sequence[Ranked]) -> list[dict[str, Any]]:
    answers = []
    for image_id, each in enumerate(ranked, start=1):
        sides = each.boxes.astype(float)
        sides[:, 2:] -= sides[:, :2]
        for bbox, score, place in zip(
            sides.tolist(), each.scores.tolist(), each.places.tolist(), strict=True
        ):
            answers.append({"image_id": image_id, "category_id": place + 1, "bbox": bbox, "score": score})
    return answers


def _load(general: GeneralSet, place: int) -> Picture:
    path = general.images[place].path
    try:
        return images.load(path, general.limits)
    except ImageError as error:
        raise ConfigError(f"{general.annotations}, images[{place}], {path}: {error}") from error


def _size(image: GeneralImage) -> tuple[int, int]:
    return image.width, image.height


def _quiet(*_words: object) -> None:
    pass
