"""Which convention a VLM keeps to when it writes boxes: tried on pictures whose boxes are known, then frozen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from valor_ray.errors import JudgeError
from valor_ray.judges.boxes.geometry import phrase_key
from valor_ray.judges.boxes.proposals import CONVENTIONS, Asked, Convention, proposal_request, read_proposals
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.ports import Judge
from valor_ray.records import BBox, JudgeReply, Picture

if TYPE_CHECKING:
    from valor_ray.config.judging import JudgeConfig
    from valor_ray.judges.boxes.pictures import Format
    from valor_ray.judges.boxes.proposals import ProposedBox


@dataclass(frozen=True)
class KnownPicture:
    """A picture with its true boxes: made by the command, which may know some; nothing here makes one."""

    picture: Picture
    truth: Mapping[str, Sequence[BBox]]  # phrase -> the boxes that it names


@dataclass(frozen=True)
class Calibration:
    """What came of it: a file of the job's folder, and part of its report."""

    format: str  # the convention that the whole job uses
    scores: Mapping[
        str, float
    ]  # convention -> mean IoU over the true boxes, 0 for one that no box was written for
    scenes: int
    true_boxes: int
    answered: Mapping[str, int]  # convention -> scenes with an answer that is a list of boxes
    slips: Mapping[str, Mapping[str, int]]  # convention -> kind -> how often
    calls: int  # HTTP requests, as is the rest of the accounts, for all conventions together
    cost_usd: float

    def to_record(self) -> dict[str, Any]:
        return asdict(self)


async def calibrate(
    judge: Judge, known: Sequence[KnownPicture], vlm: JudgeConfig, form: Format = "jpeg"
) -> Calibration:
    """Ask for the boxes of all pictures in each convention, and choose the one of the best mean IoU.

    Each answer is read in the convention that it was asked for in. Waits for the judge, all requests at a time. Raises
    JudgeError when no answer came in any convention, or every call must fail.
    """
    conventions = tuple(CONVENTIONS.values())
    asked = await asyncio.to_thread(
        lambda: [
            proposal_request(each.picture, tuple(each.truth), convention, vlm, form)
            for convention in conventions
            for each in known
        ]
    )
    replies = await judge.ask([each.request for each in asked])
    n = len(known)
    shares = [
        (convention, asked[at * n : (at + 1) * n], replies[at * n : (at + 1) * n])
        for at, convention in enumerate(conventions)
    ]
    scored = [_score(known, *share) for share in shares]
    if not any(each.answered for each in scored):
        why = next((reply.missing for reply in replies if reply.missing), "it wrote no list of boxes")
        raise JudgeError(
            f"The VLM {vlm.model} gave no boxes for any of {n} pictures in any convention ({why}). Name a model that "
            "can write boxes."
        )
    best = max(scored, key=lambda each: each.mean_iou)  # of equals the first
    return Calibration(
        format=best.convention.name,
        scores={each.convention.name: each.mean_iou for each in scored},
        scenes=n,
        true_boxes=sum(len(boxes) for each in known for boxes in each.truth.values()),
        answered={each.convention.name: each.answered for each in scored},
        slips={each.convention.name: each.slips for each in scored},
        calls=sum(reply.usage.tries for reply in replies),
        cost_usd=sum(reply.usage.cost_usd for reply in replies),
    )


@dataclass(frozen=True)
class _Scored:
    convention: Convention
    mean_iou: float
    answered: int
    slips: Mapping[str, int]


def _score(
    known: Sequence[KnownPicture],
    convention: Convention,
    asked: Sequence[Asked],
    replies: Sequence[JudgeReply],
) -> _Scored:
    overlaps: list[float] = []
    slips: dict[str, int] = {}
    answered = 0
    for each, question, reply in zip(known, asked, replies, strict=True):
        proposals = None if reply.content is None else read_proposals(reply.content, question)
        if proposals is not None:
            answered += 1
            for slip, count in proposals.slips.items():
                slips[slip.value] = slips.get(slip.value, 0) + count
        overlaps += best_overlaps(() if proposals is None else proposals.boxes, each.truth)
    return _Scored(convention, float(np.mean(overlaps)) if overlaps else 0.0, answered, slips)


def best_overlaps(boxes: Sequence[ProposedBox], truth: Mapping[str, Sequence[BBox]]) -> list[float]:
    """IoU of each true box with the proposed one that stands for it, 0 when none does.

    Boxes of a phrase are assigned one to one so that the sum is largest: no order, no threshold.
    """
    from scipy.optimize import linear_sum_assignment

    overlaps: list[float] = []
    for phrase, true in truth.items():
        mine = [box.bbox for box in boxes if phrase_key(box.label) == phrase_key(phrase)]
        if mine and true:
            shared = iou_matrix(np.array(true, float), np.array(mine, float))
            rows, columns = linear_sum_assignment(shared, maximize=True)
            overlaps += [float(iou) for iou in shared[rows, columns]]
            overlaps += [0.0] * (len(true) - len(rows))
        else:
            overlaps += [0.0] * len(true)
    return overlaps
