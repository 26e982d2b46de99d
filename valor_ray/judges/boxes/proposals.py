"""A VLM that proposes boxes itself (paper, figure 4): what it is asked, and the strict reading of what it answers.

Models write boxes in different conventions, and a box that is read in the wrong one is a wrong box. So a request names
one convention, its answer is read in that one, whatever the numbers look like, and who asks finds out beforehand which
convention a model keeps to (grounding.generate.calibrate).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from valor_ray.judges.boxes import pictures
from valor_ray.judges.boxes.geometry import phrase_key
from valor_ray.judges.sections import write_sections
from valor_ray.records import BBox, JudgeRequest, Picture

if TYPE_CHECKING:
    from valor_ray.config.judging import JudgeConfig

HEAD = "box_proposals"
_LEAST_AREA = 1.0  # square pixels of the original picture; smaller boxes hold nothing
SCHEMA: dict[
    str, Any
] = {  # how many numbers a box has is checked by `read_proposals`, which counts what is wrong
    "type": "object",
    "properties": {
        "boxes": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "label": {"type": "string", "description": "the phrase as it stands in the list"},
                    "box": {"type": "array", "items": {"type": "number"}, "description": "four numbers"},
                },
                "required": ["label", "box"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["boxes"],
    "additionalProperties": False,
}


class Slip(StrEnum):
    """What may be wrong with a box of an answer, and what is done about it."""

    MALFORMED = "malformed"  # not four finite numbers with a label: dropped
    NOT_ASKED = "not_asked"  # a label that was not in the list: dropped
    REVERSED = "reversed"  # a corner on the wrong side: ordered
    OUT_OF_RANGE = "out_of_range"  # beyond the convention's range: clipped
    TOO_SMALL = "too_small"  # under one square pixel, after clipping: dropped


@dataclass(frozen=True)
class Convention:
    """How the four numbers of a box are to be read."""

    name: str  # in the request's section `format`, in settings and reports
    text: str  # for the prompt
    y_first: bool = False  # y1, x1, y2, x2 in place of x1, y1, x2, y2
    top: float | None = None  # what the right and the lower edge are; None: pixels of the picture as sent
    grid: int = (
        32  # px: sides as sent are multiples of it, so that the service resizes nothing (Qwen: 28, 32)
    )


_ORIGIN = "(0, 0) is the picture's upper left corner, x grows to the right, y grows downwards."
CONVENTIONS = {
    each.name: each
    for each in (
        Convention(
            "xyxy_pixels",
            "[x1, y1, x2, y2]: left, top, right and bottom edge in pixels of the picture as you are shown it, whose "
            f"width and height are stated with the phrases. {_ORIGIN}",
            grid=28,
        ),
        Convention(
            "xyxy_1000",
            "[x1, y1, x2, y2]: left, top, right and bottom edge on a scale from 0 to 1000 along each axis, where 1000 "
            f"is the picture's full width for x and its full height for y. {_ORIGIN}",
            top=1000.0,
        ),
        Convention(
            "yxyx_1000",
            "[y1, x1, y2, x2], y first: top, left, bottom and right edge on a scale from 0 to 1000 along each axis, "
            f"where 1000 is the picture's full height for y and its full width for x. {_ORIGIN}",
            y_first=True,
            top=1000.0,
        ),
        Convention(
            "xyxy_unit",
            "[x1, y1, x2, y2]: left, top, right and bottom edge as fractions from 0 to 1, of the picture's width for "
            f"x and of its height for y. {_ORIGIN}",
            top=1.0,
        ),
    )
}  # the stated formats of BENCHMARKS D, in the order in which a tie between them is decided


@dataclass(frozen=True)
class ProposedBox:
    label: str  # the phrase as the caller spelt it
    bbox: BBox  # pixels of the original upright picture, x1 < x2, y1 < y2, inside it


@dataclass(frozen=True)
class Asked:
    """A request with what is needed to read its answer."""

    request: JudgeRequest
    convention: Convention
    phrases: tuple[str, ...]
    original: tuple[int, int]  # width, height in pixels, of the picture that boxes are wanted for
    sent: tuple[int, int]  # and of the picture that the model sees


@dataclass(frozen=True)
class Proposals:
    boxes: tuple[ProposedBox, ...]  # in the model's order
    slips: Mapping[Slip, int]  # how often; only what occurred


def proposal_request(
    picture: Picture,
    phrases: Sequence[str],
    convention: Convention,
    vlm: JudgeConfig,
    form: pictures.Format = "jpeg",
) -> Asked:
    """The question for boxes of all phrases in one picture.

    Scales and encodes the picture: milliseconds of CPU, called in a thread by grounding.generate.
    """
    width, height = sent_size(picture.width, picture.height, convention.grid, vlm.max_side)
    uri = pictures.data_uri(pictures.scaled(picture.rgb, (width, height)), form, vlm.jpeg_quality)
    wanted = write_sections(
        {
            "labels": "\n".join(_one_line(phrase) for phrase in phrases),
            "format": convention.name,
            "picture": json.dumps({"width": width, "height": height}),
        }
    )
    content = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": wanted}]
    messages = (
        {"role": "system", "content": _prompt().replace("{{CONVENTION}}", convention.text)},
        {"role": "user", "content": content},
    )
    request = JudgeRequest(HEAD, prompt_version(), messages, SCHEMA)
    original = (picture.width, picture.height)
    return Asked(request, convention, tuple(phrases), original, (width, height))


def read_proposals(content: Mapping[str, Any], asked: Asked) -> Proposals | None:
    """The boxes of an answer in pixels of the original picture; None when it is no list of boxes at all.

    Read in the convention that was asked for and in no other. Raises nothing, whatever the answer holds.
    """
    items = content.get("boxes")
    if not isinstance(items, list):
        return None
    spelt = {phrase_key(phrase): phrase for phrase in reversed(asked.phrases)}
    slips: Counter[Slip] = Counter()
    boxes = []
    for item in items:
        numbers = _numbers(item.get("box")) if isinstance(item, Mapping) else None
        if numbers is None or not isinstance(item.get("label"), str):
            slips[Slip.MALFORMED] += 1
        elif (phrase := spelt.get(phrase_key(item["label"]))) is None:
            slips[Slip.NOT_ASKED] += 1
        elif (bbox := _in_picture(numbers, asked, slips)) is not None:
            boxes.append(ProposedBox(phrase, bbox))
    return Proposals(tuple(boxes), dict(slips))


def sent_size(width: int, height: int, grid: int, max_side: int) -> tuple[int, int]:
    """Width and height as sent, px: what the verifier is sent, each side rounded to a multiple of `grid`.

    Each for itself, as Qwen-VL rounds, so the scales of the axes differ a little: boxes are scaled back per axis.
    """
    most = max(grid, max_side // grid * grid)
    wide, high = (round(side / grid) * grid for side in pictures.sent_size(width, height, max_side))
    return min(most, max(grid, wide)), min(most, max(grid, high))


def _numbers(box: Any) -> tuple[float, float, float, float] | None:
    """Four finite numbers, or None. A number written as a text is not one, nor is true."""
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in box):
        return None
    try:
        a, b, c, d = (float(each) for each in box)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return (a, b, c, d) if all(map(math.isfinite, (a, b, c, d))) else None


def _in_picture(
    numbers: tuple[float, float, float, float], asked: Asked, slips: Counter[Slip]
) -> BBox | None:
    """The box in pixels of the original picture, ordered and clipped; None when nothing of it is left."""
    convention = asked.convention
    a, b, c, d = numbers
    x1, y1, x2, y2 = (b, a, d, c) if convention.y_first else numbers
    right, bottom = asked.sent if convention.top is None else (convention.top, convention.top)
    if x1 > x2 or y1 > y2:
        slips[Slip.REVERSED] += 1
        x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    if x1 < 0 or y1 < 0 or x2 > right or y2 > bottom:
        slips[Slip.OUT_OF_RANGE] += 1
    width, height = asked.original
    left, far = (min(max(x, 0.0), right) / right * width for x in (x1, x2))
    top, low = (min(max(y, 0.0), bottom) / bottom * height for y in (y1, y2))
    if (far - left) * (low - top) < _LEAST_AREA:
        slips[Slip.TOO_SMALL] += 1
        return None
    return left, top, far, low


def _one_line(phrase: str) -> str:
    return " ".join(phrase.split())


@cache
def _prompt() -> str:
    return (
        files("valor_ray").joinpath("prompts", "boxes", "proposals.txt").read_text(encoding="utf-8").strip()
    )


@cache
def prompt_version() -> str:
    """Changes with everything that the VLM is told, the convention apart: part of the cache key (law 4)."""
    return hashlib.sha256(f"{_prompt()}\0{json.dumps(SCHEMA, sort_keys=True)}".encode()).hexdigest()[:12]
