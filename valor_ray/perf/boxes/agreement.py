"""Do JPEG and PNG lead the verifier to the same verdicts? Both asked about the same boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valor_ray.judges.boxes.checks import BoxChecks, check_boxes
from valor_ray.measure.intervals import wilson
from valor_ray.ports import Judge
from valor_ray.records import BOX_CHECKS, CheckedBox, Detection, Picture

if TYPE_CHECKING:
    from valor_ray.config.grounding import GroundingConfig
    from valor_ray.config.judging import JudgeConfig

KEPT = "kept"  # beside the checks: the end result


@dataclass
class _Agreement:
    both: int = 0  # boxes with a verdict in both formats
    agreed: int = 0

    def report(self) -> dict[str, Any]:
        low, high = wilson(self.agreed, self.both)
        share = round(self.agreed / self.both, 4) if self.both else None
        return {
            "boxes": self.both,
            "agreed": self.agreed,
            "share": share,
            "ci": [round(low, 4), round(high, 4)],
        }


async def compare_formats(
    judge: Judge,
    pictures: Sequence[tuple[Picture, Sequence[Detection]]],
    grounding: GroundingConfig,
    vlm: JudgeConfig,
) -> dict[str, dict[str, Any]]:
    """{check or "kept": {boxes, agreed, share, ci}}: of boxes with a verdict in both formats, those with the same.

    One picture after the other. A check counts the boxes that reach it in both; one
    that was decided by geometry counts as well. share is null where there were none. Raises JudgeError.
    """
    counts = {name: _Agreement() for name in (*(stage.value for stage in BOX_CHECKS), KEPT)}
    jpeg, png = (grounding.model_copy(update={"picture_format": form}) for form in ("jpeg", "png"))
    for picture, candidates in pictures:
        one = await check_boxes(judge, picture, candidates, jpeg, vlm)
        other = await check_boxes(judge, picture, candidates, png, vlm)
        _compare(one, other, counts)
    return {name: each.report() for name, each in counts.items()}


def _compare(one: BoxChecks, other: BoxChecks, counts: dict[str, _Agreement]) -> None:
    for a, b in zip(one.boxes, other.boxes, strict=True):
        said, also = _verdicts(a), _verdicts(b)
        for name in said.keys() & also.keys():
            if said[name] is not None and also[name] is not None:
                counts[name].both += 1
                counts[name].agreed += said[name] is also[name]


def _verdicts(box: CheckedBox) -> dict[str, bool | None]:
    return {**{each.stage.value: each.kept for each in box.decisions}, KEPT: box.kept}
