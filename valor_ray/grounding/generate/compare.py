"""Boxes of two methods against true boxes of the same pictures: precision, recall, F1, mean IoU (BENCHMARKS D).

What is right is decided as for the stages of mining (measure.box_stages): the verified boxes have the same precision in
both reports. Boxes that a VLM wrote have no scores, so there is no AP. This module knows no truth: whoever calls it
brings some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from valor_ray.measure.box_stages import claims
from valor_ray.measure.clustered import clustered
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.records import BBox

_DRAWS = 10_000  # of the bootstrap over pictures
_AT_ONCE = 1_000  # draws in memory
_FIGURES = ("precision", "recall", "f1", "mean_iou")

Labelled = tuple[str, BBox]  # phrase, box in pixels


@dataclass(frozen=True)
class Named:
    """What a phrase names in a picture."""

    true: tuple[BBox, ...]  # () where it names nothing
    neutral: tuple[BBox, ...] = ()  # hardly to be seen: a box on one of these alone counts neither way


Truth = Mapping[str, Named]  # by phrase; not in it: nobody can say


@dataclass(frozen=True)
class Tally:
    """What one method did in one picture."""

    boxes: int = 0  # of phrases that the truth can decide
    right: int = 0  # claim a true box that no earlier one has claimed
    true: int = 0
    iou_sum: float = 0.0  # over the right ones
    undecided: int = 0  # boxes of other phrases: in no figure


def tally(boxes: Sequence[Labelled], truth: Truth) -> Tally:
    """One picture. Boxes claim in the order given, each the free true box of its phrase that it overlaps most, from an
    IoU of 0.5 on."""
    named = {normal_form(phrase): one for phrase, one in truth.items()}
    mine: dict[str, list[BBox]] = {phrase: [] for phrase in named}
    undecided = 0
    for label, bbox in boxes:
        if (phrase := normal_form(label)) in mine:
            mine[phrase].append(bbox)
        else:
            undecided += 1
    marks = {
        phrase: claims(corners, named[phrase].true, named[phrase].neutral) for phrase, corners in mine.items()
    }
    claimed = [iou for phrase, own in mine.items() for iou in _ious(own, marks[phrase], named[phrase].true)]
    return Tally(
        boxes=sum(mark != "left out" for said in marks.values() for mark in said),
        right=len(claimed),
        true=sum(len(one.true) for one in named.values()),
        iou_sum=sum(claimed),
        undecided=undecided,
    )


def compare(generated: Sequence[Tally], verified: Sequence[Tally]) -> dict[str, Any]:
    """`generator` and `verified`, the figures of each, and `f1_difference`, verified less generator, paired by picture.

    Intervals are 95 % and know that boxes of one picture go together: for precision and recall `clustered`;
    for F1, mean IoU and the difference percentiles of a bootstrap over pictures, 10,000 draws of one seed. A figure
    that nothing stands behind is None, and so is its interval.
    """
    draws = [_resampled(_counts(tallies)) for tallies in (generated, verified)]
    f1 = [_shares(drawn)["f1"] for drawn in draws]
    values = [figures(tallies, drawn) for tallies, drawn in zip((generated, verified), draws, strict=True)]
    both = values[0]["f1"] is not None and values[1]["f1"] is not None
    return {
        "generator": values[0],
        "verified": values[1],
        "f1_difference": values[1]["f1"] - values[0]["f1"] if both else None,
        "f1_difference_ci": _percentiles(f1[1] - f1[0]) if both else None,
    }


def figures(tallies: Sequence[Tally], drawn: np.ndarray) -> dict[str, Any]:
    """The figures of one method. drawn: its counts in each draw, (draws, 4)."""
    total = _counts(tallies).sum(0)
    boxes, right, true = (int(count) for count in total[:3])
    shares = {name: _number(share) for name, share in _shares(total[None]).items()}
    spread = _shares(drawn)
    intervals = {
        "precision": list(clustered([(each.right, each.boxes) for each in tallies])) if boxes else None,
        "recall": list(clustered([(each.right, each.true) for each in tallies])) if true else None,
        **{name: None if shares[name] is None else _percentiles(spread[name]) for name in ("f1", "mean_iou")},
    }
    return {
        "boxes": boxes,
        "right": right,
        "true": true,
        "undecided": sum(each.undecided for each in tallies),
        **{
            key: value
            for name in _FIGURES
            for key, value in ((name, shares[name]), (f"{name}_ci", intervals[name]))
        },
    }


def _ious(boxes: Sequence[BBox], marks: Sequence[str], true: Sequence[BBox]) -> list[float]:
    """Of each right box with the true box that it claims."""
    overlap = iou_matrix(np.asarray(boxes, float).reshape(-1, 4), np.asarray(true, float).reshape(-1, 4))
    free = np.ones(len(true), bool)
    ious = []
    for row, mark in enumerate(marks):
        if mark == "right":
            best = int(np.argmax(np.where(free, overlap[row], -1)))
            free[best] = False
            ious.append(float(overlap[row, best]))
    return ious


def _counts(tallies: Sequence[Tally]) -> np.ndarray:
    """(pictures, 4): boxes, right, true, iou_sum."""
    return np.array([(each.boxes, each.right, each.true, each.iou_sum) for each in tallies], float).reshape(
        -1, 4
    )


def _resampled(counts: np.ndarray) -> np.ndarray:
    """(draws, 4): the counts summed over as many pictures as there are, drawn with replacement; the same pictures for
    each method of equally many pictures."""
    n = len(counts)
    if n == 0:
        return np.zeros((_DRAWS, 4))
    rng = np.random.default_rng(0)
    weights = (rng.multinomial(n, [1 / n] * n, size=_AT_ONCE) for _ in range(_DRAWS // _AT_ONCE))
    return np.concatenate([weight @ counts for weight in weights])


def _shares(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and mean IoU of counts (n, 4); nan where there is nothing to divide by."""
    boxes, right, true, iou_sum = counts.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": right / boxes,
            "recall": right / true,
            "f1": 2 * right / (boxes + true),
            "mean_iou": iou_sum / right,
        }


def _number(share: np.ndarray) -> float | None:
    return None if np.isnan(share[0]) else float(share[0])


def _percentiles(drawn: np.ndarray) -> list[float] | None:
    """Of the draws in which there is something to divide by."""
    known = drawn[~np.isnan(drawn)]
    return [float(each) for each in np.percentile(known, (2.5, 97.5))] if len(known) else None
