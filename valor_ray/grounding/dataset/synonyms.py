"""The synonym guard: which phrases may name one object, and so are never negatives of each other."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.program.inside.scene_words import singular
from valor_ray.records import CheckedBox

SAME_OBJECT = 0.7  # IoU of two confirmed boxes that are one object
_ARTICLES = frozenset(("a", "an", "the"))
_NO_KIND = frozenset(("object", "thing", "item", "shape", "one", "piece"))


class Synonyms:
    """Pairs of phrases that the set confirmed on one object, and what their words alone say.

    Phrases are normal forms throughout. Symmetric, not transitive: "cube" fits "red cube" and "blue cube", which stay
    negatives of each other.
    """

    def __init__(self, confirmed: Iterable[tuple[str, str]] = ()) -> None:
        self._confirmed = {(min(pair), max(pair)) for pair in confirmed}

    def compatible(self, a: str, b: str) -> bool:
        """Whether one object may bear both: one's words hold the other's, or some picture confirmed both on one."""
        return (min(a, b), max(a, b)) in self._confirmed or words_nest(a, b)

    def pairs(self) -> list[tuple[str, str]]:
        """The confirmed ones, sorted."""
        return sorted(self._confirmed)


def says_no_kind(phrase: str) -> bool:
    """Whether its noun says nothing of what a thing is ("red object"): any object may bear such a name."""
    return phrase.split()[-1:] != [] and singular(phrase.split()[-1]) in _NO_KIND


def words_nest(a: str, b: str) -> bool:
    """ "cube" and "red cube", "the cubes" and "cube"; not "cup" and "cupboard"."""
    first, second = _words(a), _words(b)
    return first <= second or second <= first


def confirmed_pairs(boxes: Iterable[CheckedBox]) -> set[tuple[str, str]]:
    """Pairs of phrases whose confirmed boxes in one picture are one object (IoU of SAME_OBJECT or more)."""
    kept = [box for box in boxes if box.kept]
    if len(kept) < 2:
        return set()
    corners = np.array([box.bbox for box in kept])
    labels = [normal_form(box.label) for box in kept]
    rows, columns = np.nonzero(np.triu(iou_matrix(corners, corners) >= SAME_OBJECT, 1))
    return {
        (min(pair), max(pair))
        for row, column in zip(rows, columns, strict=True)
        if len(set(pair := (labels[row], labels[column]))) == 2
    }


@lru_cache(maxsize=100_000)
def _words(phrase: str) -> frozenset[str]:
    words = frozenset(map(singular, phrase.split()))
    return words - _ARTICLES or words
