"""Whether a phrase names something in a picture, from pixels alone: every region that may be an object is looked at.

A region found counts for a phrase as it does for a box (beliefs.fits). Not to have found one proves nothing by itself:
"absent" takes that no region comes near to what the phrase says; what lies between is left open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from valor_ray.tabletop.judge.boxes.beliefs import believed, fits
from valor_ray.tabletop.judge.boxes.geometry import Box, clipped, overlap, placed
from valor_ray.tabletop.judge.boxes.noise import Noise
from valor_ray.tabletop.judge.boxes.phrases import read_phrase
from valor_ray.tabletop.judge.boxes.request import PRESENCE, Named
from valor_ray.tabletop.judge.boxes.sight import BoxSight, look_at, window
from valor_ray.tabletop.judge.scene import propose, working_size

# Chosen on mined scenes of grounding.seed 801, by which nothing is reported. Of the belief that the best region fits;
# its square root where a phrase names colour and shape: two doubts multiply, and no more is there or not for that.
_ABSENT = 0.2  # below: absent
_PRESENT = 0.7  # from there: present
_ALIKE, _AGAIN = (
    0.85,
    0.9,
)  # overlap from which of two regions, before and after they are moved, one is enough
_NEAR = 0.2  # least expected overlap of a region with an object, to be moved onto it
_LEAST = 4  # px of the working picture, a side


def presence(rgb: np.ndarray, named: Sequence[Named], noise: Noise) -> dict[str, Any]:
    """Reply to box_presence about phrases and the picture, uint8 (height, width, 3). About 0.3 s of CPU a picture."""
    sights = looked_over(rgb)
    phrases = []
    for each in named:
        word, reason = _verdict(each.label, sights)
        if word != "unsure" and noise.turns(PRESENCE, each.label, rgb):
            word = "absent" if word == "present" else "present"
        phrases.append({"index": each.index, "label": each.label, "reason": reason, "verdict": word})
    return {"phrases": phrases}


def looked_over(rgb: np.ndarray) -> list[BoxSight]:
    """What is believed of every region that may be an object, well framed or not."""
    small = working_size(rgb)
    height, width = small.shape[:2]
    proposed = [tuple(map(float, box)) for box in propose(small)]
    regions = _apart(proposed, _ALIKE)  # type: ignore[arg-type]
    first = zip(regions, look_at([window(small, box) for box in regions]), strict=True)
    moved = [
        clipped(placed(box, sight.object), width, height) for box, sight in first if sight.overlap > _NEAR
    ]
    large = [box for box in moved if min(box[2] - box[0], box[3] - box[1]) >= _LEAST]
    return believed(small, _apart(large, _AGAIN))


def _verdict(label: str, sights: Sequence[BoxSight]) -> tuple[str, str]:
    """Of requests.PRESENT, and why."""
    thing = read_phrase(label)
    if thing is None:
        return "unsure", f"cannot tell what {label!r} names"
    named = max(1, (thing.colour is not None) + (thing.shape is not None))
    best = max((fits(sight, thing) for sight in sights), default=0.0) ** (1 / named)
    if best >= _PRESENT:
        return "present", "a region fits"
    if best < _ABSENT:
        return "absent", "no region of the picture comes near to it"
    return "unsure", "something may be it"


def _apart(boxes: Sequence[Box], most: float) -> list[Box]:
    """Of boxes that nearly coincide the first."""
    kept: list[Box] = []
    for box in boxes:
        if all(overlap(box, other) < most for other in kept):
            kept.append(box)
    return kept
