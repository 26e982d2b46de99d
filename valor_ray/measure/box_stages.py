"""How many of the boxes that a verifier kept are right, stage by stage, and how many right ones it threw away.

A box is right when it claims a true box of its phrase at IoU 0.5 or more: best score first, each takes the free true
box that it covers best. What covers only claimed ones is a duplicate, what covers none is on nothing: both are wrong.
Claims are made anew among the boxes of each stage, so a second box is right once the first is gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from valor_ray.measure.clustered import clustered
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.records import BBox, BoxStage, CheckedBox

IOU = 0.5
_PLACES = 4  # decimals of a share


@dataclass(frozen=True)
class PhraseBoxes:
    """What mining and what the truth say of one phrase in one picture."""

    picture: str  # its pixels' key: boxes of one picture are not independent, and intervals know it
    boxes: tuple[CheckedBox, ...]  # all candidates of the phrase, in any order
    true: tuple[BBox, ...]  # of the objects that the phrase names; () where it names nothing
    neutral: tuple[BBox, ...] = ()  # hardly to be seen: a box on one of these alone counts neither way


@dataclass
class _Counts:
    """Of one stage in one picture."""

    boxes: int = 0
    right: int = 0
    duplicates: int = 0
    left_out: int = 0  # on something hardly to be seen


@dataclass
class BoxStages:
    """Grows phrase by phrase; memory: some counts a picture."""

    candidates: int = 0
    missing: int = 0  # boxes without a verdict, which no stage after the missing one keeps
    missing_right: int = 0  # of those that claim a true box among the candidates
    phrases: int = 0
    _stages: dict[BoxStage, dict[str, _Counts]] = field(
        default_factory=lambda: {stage: defaultdict(_Counts) for stage in BoxStage}
    )
    _true: dict[str, int] = field(
        default_factory=lambda: defaultdict(int)
    )  # (object, phrase) pairs by picture

    def add(self, phrase: PhraseBoxes) -> None:
        self.phrases += 1
        self.candidates += len(phrase.boxes)
        self._true[phrase.picture] += len(phrase.true)
        ordered = sorted(phrase.boxes, key=lambda box: -box.score)
        for stage in BoxStage:
            there = [box for box in ordered if box.passed(stage)]
            marks = claims([box.bbox for box in there], phrase.true, phrase.neutral)
            if stage is BoxStage.CANDIDATES:
                self.missing += sum(box.kept is None for box in there)
                self.missing_right += sum(
                    box.kept is None and mark == "right" for box, mark in zip(there, marks, strict=True)
                )
            counts = self._stages[stage][phrase.picture]
            counts.boxes += sum(mark != "left out" for mark in marks)
            counts.right += marks.count("right")
            counts.duplicates += marks.count("duplicate")
            counts.left_out += marks.count("left out")

    def report(self) -> dict[str, Any]:
        """Shares 0..1 by stage with 95 % intervals clustered by picture; None where there is nothing to share.

        recall_lost: points (0..100) of the true (object, phrase) pairs that candidates claim and kept boxes do not.
        """
        lost = [
            (
                self._stages[BoxStage.CANDIDATES][picture].right
                - self._stages[BoxStage.DUPLICATES][picture].right,
                true,
            )
            for picture, true in self._true.items()
        ]
        share, interval = _share(lost)
        return {
            **self._precision(),
            **self._recall(),
            "recall_lost": None if share is None else round(100 * share, 2),
            "recall_lost_ci": None if interval is None else [round(100 * end, 2) for end in interval],
            "n": {
                "pictures": len(self._true),
                "phrases": self.phrases,
                "true_pairs": sum(self._true.values()),
                "candidates": self.candidates,
                "missing": self.missing,
                "missing_right": self.missing_right,
            },
        }

    def _precision(self) -> dict[str, Any]:
        made: dict[str, dict[str, Any]] = {
            name: {} for name in ("precision_by_stage", "precision_ci", "boxes_by_stage")
        }
        for stage, pictures in self._stages.items():
            share, interval = _share([(each.right, each.boxes) for each in pictures.values()])
            made["precision_by_stage"][stage.value] = share
            made["precision_ci"][stage.value] = interval
            made["boxes_by_stage"][stage.value] = {
                name: sum(getattr(each, name) for each in pictures.values())
                for name in ("boxes", "right", "duplicates", "left_out")
            }
        return made

    def _recall(self) -> dict[str, Any]:
        made: dict[str, dict[str, Any]] = {"recall_by_stage": {}, "recall_ci": {}}
        for stage, pictures in self._stages.items():
            share, interval = _share(
                [(pictures[picture].right, true) for picture, true in self._true.items()]
            )
            made["recall_by_stage"][stage.value] = share
            made["recall_ci"][stage.value] = interval
        return made


def claims(boxes: Sequence[BBox], true: Sequence[BBox], neutral: Sequence[BBox] = ()) -> list[str]:
    """Of each box, best score first: "right", "duplicate", "wrong" or "left out".

    As COCO does: what finds no free true box but covers a neutral one is left out.
    """
    if not boxes:
        return []
    corners = np.asarray(boxes, float)
    over_true, over_neutral = _overlaps(corners, true), _overlaps(corners, neutral)
    free = np.ones(len(true), bool)
    marks = []
    for row in range(len(boxes)):
        covered = over_true[row] >= IOU
        if (covered & free).any():
            free[int(np.argmax(np.where(free, over_true[row], -1)))] = False
            marks.append("right")
        elif (over_neutral[row] >= IOU).any():
            marks.append("left out")
        else:
            marks.append("duplicate" if covered.any() else "wrong")
    return marks


def _overlaps(corners: np.ndarray, others: Sequence[BBox]) -> np.ndarray:
    """IoU, (boxes, others)."""
    return iou_matrix(corners, np.asarray(others, float).reshape(-1, 4))


def _share(pictures: Sequence[tuple[int, int]]) -> tuple[float | None, list[float] | None]:
    """The share of right ones and its interval, from (right, all) of each picture; None of nothing."""
    n = sum(all_ for _, all_ in pictures)
    if n == 0:
        return None, None
    low, high = clustered(pictures)
    share = sum(right for right, _ in pictures) / n
    return round(share, _PLACES), [round(low, _PLACES), round(high, _PLACES)]
