"""Boxes for average precision: every query under every phrase, best first. Programs and mining get `detect`'s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from valor_ray.models.grounding_dino.boxes import phrase_scores
from valor_ray.records import Picture

if TYPE_CHECKING:
    from valor_ray.models.grounding_dino.detector import GroundingDino

LEAST_SCORE = 0.01  # pairs below it are far down every ranking


@dataclass(frozen=True)
class Ranked:
    """Boxes of one picture, best score first."""

    boxes: np.ndarray  # float32 (n, 4): x1, y1, x2, y2 px, clipped to the picture
    scores: np.ndarray  # float32 (n,), 0..1: mean over the phrase's tokens
    places: np.ndarray  # int (n,): which of the phrases that were asked


def rank(
    detector: GroundingDino, pictures: Sequence[Picture], phrases: Sequence[str], most: int = 100
) -> list[Ranked]:
    """The best `most` (query, phrase) pairs of each picture above LEAST_SCORE, all captions of the phrases together.

    No suppression, and a query may stand under several phrases, as in the published evaluation. Of phrases with one
    normal form only the first is asked. Blocks for the forward passes, at most `detector.config.max_batch` pictures of
    one size each; holds `most` boxes a picture and caption.
    """
    place_of: dict[str, int] = {}
    for place, phrase in enumerate(phrases):
        place_of.setdefault(phrase, place)
    parts: list[list[Ranked]] = [[] for _ in pictures]
    for scored in detector.score(pictures, [phrases] * len(pictures)):
        picture = pictures[scored.picture]
        _best, mean = phrase_scores(scored.chances, scored.caption)
        queries, columns = np.nonzero(mean > LEAST_SCORE)
        places = np.array([place_of[phrase] for phrase in scored.caption.phrases], int)
        boxes = scored.boxes[queries].clip(0, [picture.width, picture.height] * 2).astype(np.float32)
        part = Ranked(boxes, mean[queries, columns], places[columns])
        parts[scored.picture].append(_best_of([part], most))
    return [_best_of(each, most) for each in parts]


def _best_of(parts: Sequence[Ranked], most: int) -> Ranked:
    if not parts:
        return Ranked(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int))
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")[:most]
    boxes = np.concatenate([part.boxes for part in parts])
    places = np.concatenate([part.places for part in parts])
    return Ranked(boxes[order], scores[order], places[order])
