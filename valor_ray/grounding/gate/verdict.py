"""Whether general detection has suffered too much for a detector to be published."""

from __future__ import annotations

from dataclasses import dataclass

from valor_ray.errors import ConfigError
from valor_ray.grounding.gate.coco_map import GeneralScore


@dataclass(frozen=True)
class Verdict:
    passed: bool
    loss: float  # mAP points; negative where general detection has gained
    limit: float  # mAP points
    words: str  # for people


def judge_general(before: GeneralScore, after: GeneralScore, limit: float) -> Verdict:
    """The verdict on two scores of one general set; limit: mAP points that may be lost, and this loss still passes.

    Raises ConfigError when the scores are of different sets. A loss that is no number does not pass.
    """
    if (before.pictures, before.by_category.keys()) != (after.pictures, after.by_category.keys()):
        raise ConfigError(
            f"General mAP before is of {before.pictures} pictures and {len(before.by_category)} categories, after of "
            f"{after.pictures} and {len(after.by_category)}, or of other ones. Measure both on one finetune.general."
        )
    loss = before.map - after.map
    passed = loss <= limit
    moved = f"a gain of {-loss:.2f}" if loss < 0 else f"a loss of {loss:.2f}"
    words = (
        f"general mAP {before.map:.2f} → {after.map:.2f} on {after.pictures} pictures: {moved} points, "
        f"{'within' if passed else 'beyond'} the limit of {limit:g}"
    )
    return Verdict(passed, loss, limit, words)
