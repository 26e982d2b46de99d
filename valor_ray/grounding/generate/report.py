"""The report of a job of proposals: what the VLM proposed beside what it confirmed, on the same pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from valor_ray.grounding.generate.compare import Tally, Truth, compare, tally
from valor_ray.grounding.generate.frozen import Frozen
from valor_ray.grounding.generate.run import MinedPicture, Proposed
from valor_ray.judges.boxes.proposals import Slip
from valor_ray.records import BOX_CHECKS

NO_TRUTH = (
    "No true boxes are known of these pictures: precision, recall, F1 and mean IoU are null. They are known of the "
    "tabletop scenes that `valor mine` renders (evaluation/objects.jsonl of the run)."
)
_GEOMETRY = "geometry"  # what decides in place of a model where boxes' places are enough


def make_report(
    pictures: Sequence[MinedPicture],
    proposed: Mapping[str, Proposed],
    truths: Mapping[str, Truth],
    frozen: Frozen,
) -> dict[str, Any]:
    """JSON values. proposed: by Picture.key; pictures without one are in no figure of either method.

    truths: by Picture.key. Where there is any, figures are of the pictures that have one; without any they are null.
    Calls and cost are those of all starts: of the records, and of the calibration.
    """
    answered = [picture for picture in pictures if picture.key in proposed]
    known = [picture for picture in answered if picture.key in truths]
    compared = _compared(known, proposed, truths) if known else _counted(answered, proposed)
    verifiers = sorted(
        {
            each.by
            for picture in answered
            for box in picture.kept
            for each in box.decisions
            if each.stage in BOX_CHECKS
        }
        - {_GEOMETRY, ""}
    )
    return {
        "images": len(known) if known else len(answered),
        "pictures": {"of_the_run": len(pictures), "answered": len(answered), "with_truth": len(known)},
        **compared,
        "note": "" if known else NO_TRUTH,
        "format": frozen.format,
        "calibration": None
        if frozen.calibration is None
        else frozen.calibration.to_record() | {"known": frozen.known},
        "slips": _slips(proposed[picture.key] for picture in answered),
        "model": frozen.model,
        "verifiers": verifiers,
        **_accounts([proposed[picture.key] for picture in answered], frozen),
    }


def labelled_boxes(picture: MinedPicture, proposed: Proposed) -> dict[str, list[tuple[str, Any]]]:
    """The boxes of both methods: "generator" in the VLM's order, "verified" best score first."""
    return {
        "generator": [(box.label, box.bbox) for box in proposed.boxes],
        "verified": [(box.label, box.bbox) for box in picture.kept],
    }


def _compared(
    pictures: Sequence[MinedPicture], proposed: Mapping[str, Proposed], truths: Mapping[str, Truth]
) -> dict[str, Any]:
    tallies: dict[str, list[Tally]] = {"generator": [], "verified": []}
    for picture in pictures:
        for method, boxes in labelled_boxes(picture, proposed[picture.key]).items():
            tallies[method].append(tally(boxes, truths[picture.key]))
    return compare(tallies["generator"], tallies["verified"])


def _counted(pictures: Sequence[MinedPicture], proposed: Mapping[str, Proposed]) -> dict[str, Any]:
    """Of pictures of which nothing is known."""
    nothing = compare([], [])
    for method in ("generator", "verified"):
        boxes = (len(labelled_boxes(picture, proposed[picture.key])[method]) for picture in pictures)
        nothing[method] |= {"boxes": sum(boxes), "right": None, "true": None}
    return nothing


def _slips(proposed: Iterable[Proposed]) -> dict[str, int]:
    slips: Counter[str] = Counter({slip.value: 0 for slip in Slip})
    for one in proposed:
        slips.update(one.slips)
    return dict(slips)


def _accounts(proposed: Sequence[Proposed], frozen: Frozen) -> dict[str, Any]:
    names = ("calls", "cache_hits", "prompt_tokens", "completion_tokens", "cost_usd")
    sums = {name: sum(getattr(one, name) for one in proposed) for name in names}
    if frozen.calibration is not None:
        sums["calls"] += frozen.calibration.calls
        sums["cost_usd"] += frozen.calibration.cost_usd
    return sums
