"""Whether boxes may stay, from pixels: coarse over the whole picture, strict on a crop, one box for each object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from valor_ray.tabletop.judge.boxes.beliefs import believed, believed_of_crop, fits
from valor_ray.tabletop.judge.boxes.geometry import Box, overlap, placed
from valor_ray.tabletop.judge.boxes.noise import Noise, Part, wrong_parts
from valor_ray.tabletop.judge.boxes.phrases import read_phrase
from valor_ray.tabletop.judge.boxes.request import COARSE, CROP, DUPLICATES, Listed
from valor_ray.tabletop.judge.boxes.sight import BoxSight
from valor_ray.tabletop.judge.sight import COLOURS, SHAPES

# Chosen on scenes of the val split in tiles, wood, dusk, loud and in looks drawn at random.
_COARSE = 0.2  # least belief that a box frames what its label says
_CROP = 0.5
_SAME = 0.5  # overlap of the objects that two boxes seem to frame, from which they are one


def coarse(rgb: np.ndarray, listed: Sequence[Listed], noise: Noise) -> dict[str, Any]:
    """Reply to box_coarse about boxes of the clean picture, uint8 (height, width, 3)."""
    sights = believed(rgb, [each.box for each in listed])
    boxes = []
    for each, sight in zip(listed, sights, strict=True):
        keep, reason = _verdict(each.label, sight, _COARSE)
        word = _word(keep, noise.turns(COARSE, each.label, _inside(rgb, each.box)))
        boxes.append({"index": each.index, "label": each.label, "reason": reason, "verdict": word})
    return {"boxes": boxes}


def crop(rgb: np.ndarray, label: str, noise: Noise) -> dict[str, Any]:
    """Reply to box_crop about one crop, uint8 (height, width, 3)."""
    keep, reason = _verdict(label, believed_of_crop(rgb), _CROP)
    return {"reason": reason, "verdict": _word(keep, noise.turns(CROP, label, rgb))}


def duplicates(rgb: np.ndarray, listed: Sequence[Listed], noise: Noise) -> dict[str, Any]:
    """Reply to box_duplicates about boxes of the clean picture, uint8 (height, width, 3)."""
    by_phrase: dict[str, list[int]] = {}
    for place, each in enumerate(listed):
        by_phrase.setdefault(" ".join(each.label.casefold().split()), []).append(place)
    sights = believed(rgb, [each.box for each in listed])
    objects = [placed(each.box, sight.object) for each, sight in zip(listed, sights, strict=True)]
    parts: list[Part] = []
    for phrase, places in by_phrase.items():
        sure = {place: sights[place].framed * sights[place].overlap for place in places}
        own = [(part, max(part, key=sure.__getitem__)) for part in _together(places, objects)]
        parts += _disturbed(own, phrase, rgb, listed, noise)
    return {
        "objects": [
            {
                "indices": [listed[place].index for place in part],
                "best": listed[best].index,
                "reason": "one object" if len(part) == 1 else "the same object; the best box is the tightest",
            }
            for part, best in parts
        ]
    }


def _verdict(label: str, sight: BoxSight, least: float) -> tuple[bool | None, str]:
    """Whether to keep it, None when it cannot tell, and why."""
    thing = read_phrase(label)
    if thing is None:
        return None, f"cannot tell what {label!r} names"
    shown = f"{COLOURS[int(np.argmax(sight.colour))]} {SHAPES[int(np.argmax(sight.shape))]}"
    if fits(sight, thing) >= least:
        return True, f"frames a {shown}"
    if sight.framed < least:
        return False, "frames no whole object"
    return False, f"it seems to be a {shown}"


def _word(keep: bool | None, turned: bool) -> str:
    """turned: noise turns the verdict round; one that is unsure has no other side."""
    if keep is None:
        return "unsure"
    return "keep" if keep is not turned else "drop"


def _inside(rgb: np.ndarray, box: Sequence[int]) -> np.ndarray:
    return rgb[box[1] : box[3], box[0] : box[2]]


def _together(places: Sequence[int], objects: Sequence[Box]) -> list[list[int]]:
    """The places of boxes that seem to frame one object, by chains of likeness."""
    parts: list[list[int]] = []
    for place in places:
        alike = [
            part for part in parts if any(overlap(objects[place], objects[other]) >= _SAME for other in part)
        ]
        parts = [part for part in parts if part not in alike]
        parts.append(sorted([place, *(other for part in alike for other in part)]))
    return sorted(parts)


def _disturbed(
    parts: list[Part], phrase: str, rgb: np.ndarray, listed: Sequence[Listed], noise: Noise
) -> list[Part]:
    """The parts of one phrase, a share of them wrong where noise is asked for."""
    if noise.share <= 0:
        return parts
    pixels = [[_inside(rgb, listed[place].box) for place in part] for part, _best in parts]
    wrong = [noise.turns(DUPLICATES, phrase, *each) for each in pixels]
    split = [noise.draw(f"{DUPLICATES} split", phrase, *each) < 0.5 for each in pixels]
    return wrong_parts(parts, wrong, split)
