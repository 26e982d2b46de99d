"""The three checks of a picture's candidate boxes by a vision verifier, over any ports.Judge (REFERENCE §1).

Coarse: the whole picture, clean and with numbered boxes. Crops: each box that is left, alone. Duplicates: one best box
per object. What a check does not keep does not go on to the next; what has no verdict stays without one (law 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valor_ray.judges.boxes.asking import Members, Slips, Verifier, ask_until_read, open_verifier, packed
from valor_ray.judges.boxes.duplicates import check_duplicates
from valor_ray.judges.boxes.geometry import clipped, phrase_key
from valor_ray.judges.boxes.partition import read_coarse
from valor_ray.judges.boxes.requests import VERDICTS, coarse_request, crop_request
from valor_ray.ports import Judge
from valor_ray.records import (
    BBox,
    BoxDecision,
    BoxStage,
    CheckedBox,
    Detection,
    JudgeReply,
    JudgeRequest,
    Picture,
)

if TYPE_CHECKING:
    from valor_ray.config.grounding import GroundingConfig
    from valor_ray.config.judging import JudgeConfig

_OUTSIDE = "no part of the box that has an area lies inside the picture"


@dataclass(frozen=True)
class BoxChecks:
    """What the checks said of a picture's candidates, and what they took."""

    boxes: tuple[CheckedBox, ...]  # in the order of the candidates, clipped to the picture
    calls: int  # HTTP requests to the verifier, hedges included
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    slips: Mapping[str, int]  # partition.SLIPS -> answers that had it


async def check_boxes(
    judge: Judge,
    picture: Picture,
    candidates: Sequence[Detection],
    grounding: GroundingConfig,
    vlm: JudgeConfig,
    start: int = 0,
) -> BoxChecks:
    """All checks of one picture. Called by grounding.mine for each picture; any number may run at a time.

    Waits for the verifier, in at most three rounds and those that ask again; drawing and encoding run in a thread.
    A call that fails leaves its boxes without a verdict (kept None), the others go on. Raises JudgeError when every
    further call must fail. start: earlier starts of the run that left boxes of this picture without a verdict; answers
    that could not be used are stored like all others, and only a later start's asking is a new request.
    """
    inside = {
        at: Detection(box, candidate.label, candidate.score)
        for at, candidate in enumerate(candidates)
        if (box := clipped(candidate.bbox, picture.width, picture.height)) is not None
    }
    decisions: list[list[BoxDecision]] = [
        [] if at in inside else [BoxDecision(BoxStage.COARSE, False, _OUTSIDE, "geometry")]
        for at in range(len(candidates))
    ]
    if not inside:
        return _checks(candidates, picture, decisions, None)
    verifier = await open_verifier(judge, picture, inside, grounding, vlm, start)
    left = list(inside)
    for check in (check_coarse, check_crops, check_duplicates):
        said = await check(verifier, left)
        for at in left:
            decisions[at].append(said[at])
        left = [at for at in left if said[at].kept]
    return _checks(candidates, picture, decisions, verifier)


async def check_coarse(verifier: Verifier, members: Sequence[int]) -> dict[int, BoxDecision]:
    """For each member whether label and box fit, seen in the whole picture; all at a time. Raises JudgeError."""
    decisions: dict[int, BoxDecision] = {}

    def build(asked: Members, correction: str) -> JudgeRequest:
        boxes = [verifier.boxes[member] for member in asked]
        return coarse_request(verifier.sent, boxes, verifier.grounding, verifier.vlm, correction)

    def read(asked: Members, reply: JudgeReply) -> tuple[Members, Slips]:
        reading = read_coarse(reply.content or {}, [verifier.boxes[member].label for member in asked])
        for index, said in reading.verdicts.items():
            decisions[asked[index - 1]] = _decision(BoxStage.COARSE, *said, reply.usage.model)
        return tuple(member for member in asked if member not in decisions), reading.slips

    phrases: dict[str, Members] = {}
    for member in members:
        key = phrase_key(verifier.boxes[member].label)
        phrases[key] = (*phrases.get(key, ()), member)
    requests = packed(list(phrases.values()), verifier.grounding.boxes_per_picture)
    missing = await ask_until_read(verifier, requests, build, read)
    return decisions | {member: BoxDecision(BoxStage.COARSE, None, why) for member, why in missing.items()}


async def check_crops(verifier: Verifier, members: Sequence[int]) -> dict[int, BoxDecision]:
    """For each member whether label and box fit, seen alone; all crops at a time. Raises JudgeError."""

    def build() -> list[JudgeRequest]:
        boxes = [verifier.boxes[member] for member in members]
        return [crop_request(verifier.picture, box, verifier.grounding, verifier.vlm) for box in boxes]

    replies = await verifier.ask(build)
    return {member: _crop_decision(reply) for member, reply in zip(members, replies, strict=True)}


def _crop_decision(reply: JudgeReply) -> BoxDecision:
    """Exactly one of VERDICTS; anything else is missing."""
    if reply.content is None:
        return BoxDecision(BoxStage.CROPS, None, reply.missing or "the verifier gave no answer")
    verdict = reply.content.get("verdict")
    if verdict not in VERDICTS:
        return BoxDecision(
            BoxStage.CROPS, None, f"the verifier said {str(verdict)[:40]!r}", reply.usage.model
        )
    return _decision(BoxStage.CROPS, verdict, str(reply.content.get("reason", "")), reply.usage.model)


def _decision(stage: BoxStage, verdict: str, reason: str, model: str) -> BoxDecision:
    """verdict: of VERDICTS. What it is unsure of it does not keep (REFERENCE §1), and that is no negative."""
    return BoxDecision(stage, verdict == "keep", reason, model, unsure=verdict == "unsure")


def _checks(
    candidates: Sequence[Detection],
    picture: Picture,
    decisions: Sequence[Sequence[BoxDecision]],
    verifier: Verifier | None,
) -> BoxChecks:
    boxes = tuple(
        CheckedBox(_held(candidate.bbox, picture), candidate.label, candidate.score, tuple(said))
        for candidate, said in zip(candidates, decisions, strict=True)
    )
    if verifier is None:
        return BoxChecks(boxes, 0, 0, 0, 0, 0.0, {})
    took = verifier.account
    return BoxChecks(
        boxes,
        took.calls,
        took.cache_hits,
        took.prompt_tokens,
        took.completion_tokens,
        took.cost_usd,
        dict(took.slips),
    )


def _held(bbox: BBox, picture: Picture) -> BBox:
    """The box with its corners moved into the picture; what is not a number is 0 (JSON holds no NaN)."""
    limits = (picture.width, picture.height) * 2
    x1, y1, x2, y2 = (
        min(max(float(side), 0.0), float(limit)) if math.isfinite(side) else 0.0
        for side, limit in zip(bbox, limits, strict=True)
    )
    return x1, y1, x2, y2
