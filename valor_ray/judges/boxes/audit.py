"""The audit of the vision verifier: boxes with known verdicts among the others, and a watch on how it counts."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from valor_ray.images import from_array
from valor_ray.judges.audit import AuditCounts
from valor_ray.judges.boxes.asking import Account, Verifier, open_verifier
from valor_ray.judges.boxes.checks import check_coarse, check_crops
from valor_ray.judges.boxes.duplicates import check_duplicates
from valor_ray.judges.boxes.partition import SHIFT_SLIPS
from valor_ray.judges.boxes.presence import check_presence
from valor_ray.measure.intervals import wilson
from valor_ray.ports import Judge
from valor_ray.records import BBox, BoxStage, Detection, MinedImage, Picture

if TYPE_CHECKING:
    from valor_ray.config.grounding import GroundingConfig
    from valor_ray.config.judging import JudgeConfig

_FEWEST = 12  # verdicts before an alarm is raised
_PRESENCE, _THERE, _NOT_THERE = "presence", "there", "not_there"  # a check, and the kinds of its phrases
_CUTS = 12  # variants of a canary that differ in the px cut off at its left and upper edge
_RECENT, _FEW = 40, 3  # pictures that a SlipWatch looks back on; so many of them may slip


@dataclass(frozen=True)
class BoxCanary:
    """A picture with boxes whose verdicts are beyond doubt, each asked in every check that it has an expectation of."""

    canary_id: str
    picture: Picture
    candidates: tuple[Detection, ...]
    kinds: tuple[str, ...]  # of each: good, shifted, wrong_label, doubled, half, empty, oversized
    expected: tuple[Mapping[BoxStage, bool], ...]  # of each: kept by these checks


@cache
def canary_images() -> tuple[BoxCanary, ...]:
    """The canaries that ship with the package (tabletop/mining/make_canaries.py)."""
    folder = files("valor_ray.judges.boxes").joinpath("canaries")
    shipped = []
    for line in folder.joinpath("canaries.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        with Image.open(io.BytesIO(folder.joinpath(row["image"]).read_bytes())) as image:
            picture = from_array(np.array(image.convert("RGB")))
        boxes = row["boxes"]
        shipped.append(
            BoxCanary(
                row["canary_id"],
                picture,
                tuple(Detection(_box(box["bbox"]), box["label"], box["score"]) for box in boxes),
                tuple(box["kind"] for box in boxes),
                tuple({BoxStage(stage): kept for stage, kept in box["expected"].items()} for box in boxes),
            )
        )
    return tuple(shipped)


def variant(canary: BoxCanary, number: int) -> BoxCanary:
    """The canary with its boxes in another order, a few px cut off, every other time mirrored; 0 as it is shipped."""
    cut, rgb = (number // 2) % _CUTS, canary.picture.rgb
    order = list(range(len(canary.candidates)))
    random.Random(number).shuffle(order)
    if number == 0:
        return canary
    width = rgb.shape[1] - cut
    mirrored = number % 2 == 1
    moved = []
    for at in order:
        box = canary.candidates[at]
        x1, y1, x2, y2 = (max(0.0, side - cut) for side in box.bbox)
        x1, x2 = (width - x2, width - x1) if mirrored else (x1, x2)
        moved.append(Detection((x1, y1, x2, y2), box.label, box.score))
    pixels = rgb[cut:, cut:]
    return BoxCanary(
        canary.canary_id,
        from_array(np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)),
        tuple(moved),
        tuple(canary.kinds[at] for at in order),
        tuple(canary.expected[at] for at in order),
    )


async def audit_record(
    judge: Judge, canary: BoxCanary, grounding: GroundingConfig, vlm: JudgeConfig
) -> dict[str, Any]:
    """Puts a canary through the checks; a line of audit.jsonl, which `BoxAudit.add` reads. Raises JudgeError.

    Other than in mining, a box goes through every check that it has an expectation of, whatever the others said.
    """
    boxes = dict(enumerate(canary.candidates))
    verifier = await open_verifier(judge, canary.picture, boxes, grounding, vlm)
    checks = {
        BoxStage.COARSE: check_coarse,
        BoxStage.CROPS: check_crops,
        BoxStage.DUPLICATES: check_duplicates,
    }
    members = {stage: [at for at in boxes if stage in canary.expected[at]] for stage in checks}
    said = await asyncio.gather(*(check(verifier, members[stage]) for stage, check in checks.items()))
    by_stage = dict(zip(checks, said, strict=True))
    there = await _presence_rows(verifier, canary) if grounding.presence else []
    rows = [
        {
            "kind": kind,
            "expected": {stage.value: kept for stage, kept in expected.items()},
            "said": {stage.value: by_stage[stage][at].kept for stage in expected},
        }
        for at, (kind, expected) in enumerate(zip(canary.kinds, canary.expected, strict=True))
    ]
    return {"canary": canary.canary_id, "boxes": [*rows, *there], **_costs(verifier.account)}


async def _presence_rows(verifier: Verifier, canary: BoxCanary) -> list[dict[str, Any]]:
    """Phrases of good boxes name something in the picture, those of kind wrong_label nothing. "unsure" counts as no
    verdict: it makes nothing absent."""
    kinds = {
        label: kind
        for wanted, kind in (("good", _THERE), ("wrong_label", _NOT_THERE))
        for label in (
            box.label for box, each in zip(canary.candidates, canary.kinds, strict=True) if each == wanted
        )
    }
    asked = await check_presence(
        verifier.judge, canary.picture, tuple(kinds), verifier.grounding, verifier.vlm
    )
    verifier.account.join(asked.account)
    return [
        {
            "kind": kinds[phrase],
            "expected": {_PRESENCE: kinds[phrase] == _THERE},
            "said": {_PRESENCE: {"present": True, "absent": False}.get(verdict or "")},
        }
        for phrase, verdict in asked.verdicts.items()
    ]


class BoxAudit:
    """Agreement with the canaries, by check and by kind. A missing verdict is no disagreement; it is counted apart."""

    def __init__(self, config: GroundingConfig) -> None:
        self._alarm_below = config.audit_alarm
        self._checks: dict[str, AuditCounts] = defaultdict(AuditCounts)
        self._kinds: dict[str, AuditCounts] = defaultdict(AuditCounts)
        self._alarmed: set[str] = set()

    def add(self, record: Mapping[str, Any]) -> str:
        """Mark an `audit_record`. Returns an alarm when one goes off now, else ""."""
        for box in record["boxes"]:
            for stage, expected in box["expected"].items():
                said = box["said"].get(stage)
                for counts in (self._checks[stage], self._kinds[box["kind"]]):
                    counts.asked += said is not None
                    counts.agreed += said is expected
                    counts.missing += said is None
        new = {name: text for name, text in self._alarms().items() if name not in self._alarmed}
        self._alarmed |= set(new)
        return " ".join(new.values())

    def report(self) -> dict[str, Any]:
        """{checks: {name: {asked, agreed, missing, ci}}, kinds: {the same}, alarm}"""
        return {
            "checks": {name: counts.report() for name, counts in sorted(self._checks.items())},
            "kinds": {name: counts.report() for name, counts in sorted(self._kinds.items())},
            "alarm": " ".join(self._alarms().values()),
        }

    def _alarms(self) -> dict[str, str]:
        """Checks and kinds with surely too little agreement: even the upper end of the interval is too low.

        By kind, too: a verifier that drops everything agrees with all that is wrong.
        """
        raised = {}
        named = {f"check {name}": counts for name, counts in self._checks.items()}
        named |= {f"kind {name}": counts for name, counts in self._kinds.items()}
        for name, counts in named.items():
            upper = wilson(counts.agreed, counts.asked)[1] if counts.asked >= _FEWEST else 1.0
            if upper < self._alarm_below:
                raised[name] = (
                    f"The vision verifier agrees with {counts.agreed} of {counts.asked} known verdicts of {name} (at "
                    f"most {upper:.0%} with 95 % confidence): its boxes are no basis for training. Try another "
                    "vlm.model."
                )
        return raised


class SlipWatch:
    """Notices a verifier that begins to number boxes in another way than it is asked to, also in the middle of a run.

    Its answers were not believed, whatever is noticed here: it is asked again, and what stays in doubt is missing.
    """

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=_RECENT)  # whether a picture had such a slip
        self._told = False

    def add(self, image: MinedImage) -> str:
        """Returns an alarm when one goes off now, else "". It can go off again after the slips have ceased."""
        if not image.calls + image.cache_hits:
            return ""
        self._recent.append(any(image.slips.get(slip) for slip in SHIFT_SLIPS))
        slipped = sum(self._recent)
        if slipped <= _FEW:
            self._told = self._told and slipped > 0
            return ""
        if self._told:
            return ""
        self._told = True
        return (
            f"The vision verifier numbers boxes in another way than it is asked to, in {slipped} of the last "
            f"{len(self._recent)} pictures (from 0, or with labels of other boxes). These answers do not count; boxes "
            "that it does not number rightly when it is asked again stay without a verdict. If this goes on, try "
            "another vlm.model."
        )


def _costs(account: Account) -> dict[str, Any]:
    """What the account holds, as JSON values."""
    return {**vars(account), "slips": dict(account.slips)}


def _box(sides: list[float]) -> BBox:
    x1, y1, x2, y2 = map(float, sides)
    return x1, y1, x2, y2
