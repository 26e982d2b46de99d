"""AP of a detector on the verified boxes of pictures held back from training: the verifier's word, no truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from valor_ray.grounding.dataset.negatives import Region
from valor_ray.grounding.dataset.pictures import load_picture
from valor_ray.grounding.dataset.training import TrainingImage
from valor_ray.measure import ap_bootstrap
from valor_ray.measure.detection_ap import Boxes, iou_matrix, mean_ap
from valor_ray.models.grounding_dino.ranking import Ranked, rank

if TYPE_CHECKING:
    from valor_ray.config.service import ImageConfig
    from valor_ray.models.grounding_dino.detector import GroundingDino

_RESAMPLES = 200
_MOST = 300  # (box, phrase) pairs of a picture that are ranked
_IGNORED = 0.5  # IoU with an ignored region from which a box counts neither way


@dataclass(frozen=True)
class HeldBackScore:
    """In points (0..100), all phrases in one pool."""

    ap50: float
    ap50_error: float  # standard error over pictures
    map: float
    pictures: int
    boxes: int


def held_back_ap(
    detector: GroundingDino, images: Sequence[TrainingImage], limits: ImageConfig
) -> HeldBackScore:
    """Each picture is asked for what is known of it: its confirmed, absent and wrongly proposed phrases.

    Blocks for a few forward passes a picture. Raises ImageError.
    """
    shown: list[Boxes] = []
    true: list[Boxes] = []
    for image in images:
        regions = (*image.positives, *image.hard_negatives, *image.ignored)
        # of an open phrase nobody knows where its object is: a detector that finds it would lose by it
        known = dict.fromkeys(each.phrase for each in regions if each.phrase not in image.open)
        phrases = [*known, *(phrase for phrase in image.absent if phrase not in known)]
        (ranked,) = rank(detector, [load_picture(image, limits)], phrases, _MOST)
        for place, phrase in enumerate(phrases):
            confirmed = _corners(image.positives, phrase)
            shown.append(_answers(ranked, place, confirmed, _corners(image.ignored, phrase)))
            true.append(Boxes(confirmed, np.ones(len(confirmed))))
    boxes = sum(len(each.corners) for each in true)
    ap50, full = mean_ap([shown], [true]) if boxes else (0.0, 0.0)
    error = _error(shown, true) if boxes else 0.0
    return HeldBackScore(_points(ap50), _points(error), _points(full), len(images), boxes)


def _points(value: float) -> float:
    return round(100 * value, 2)


def _error(shown: Sequence[Boxes], true: Sequence[Boxes]) -> float:
    """Standard deviation of AP50, 0..1, over resamples of the pictures."""
    marked = ap_bootstrap.marks([shown], [true])
    drawn = ap_bootstrap.draws(marked.clusters, _RESAMPLES)
    ap50, _ = ap_bootstrap.means(ap_bootstrap.table(marked, drawn))
    return float(np.nanstd(ap50))


def _answers(ranked: Ranked, place: int, confirmed: np.ndarray, ignored: np.ndarray) -> Boxes:
    """The boxes under one phrase, without those that lie on an ignored region and on no confirmed box."""
    mine = ranked.places == place
    boxes, scores = ranked.boxes[mine], ranked.scores[mine]
    if len(ignored) and len(boxes):
        unclear = iou_matrix(boxes, ignored).max(1) >= _IGNORED
        if len(confirmed):
            unclear &= iou_matrix(boxes, confirmed).max(1) < _IGNORED
        boxes, scores = boxes[~unclear], scores[~unclear]
    return Boxes(boxes, scores)


def _corners(regions: Sequence[Region], phrase: str) -> np.ndarray:
    return np.array([each.bbox for each in regions if each.phrase == phrase], float).reshape(-1, 4)
