"""What the vision verifier is asked: the whole picture with numbered boxes, a single crop, doubles among boxes, and
which of the things that no box stands for are there.

The text beside a numbered picture holds index, label and corners of every box, so that a number that cannot be read is
no loss. Equal material gives equal requests, and so equal cache keys (law 4).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from valor_ray.judges.boxes.numbered import draw_numbered
from valor_ray.judges.boxes.pictures import crop_pixels, data_uri, scaled, sent_size
from valor_ray.judges.sections import write_sections
from valor_ray.records import BBox, Detection, JudgeRequest, Picture

if TYPE_CHECKING:
    from valor_ray.config.grounding import GroundingConfig
    from valor_ray.config.judging import JudgeConfig

COARSE, CROP, DUPLICATES, PRESENCE = "box_coarse", "box_crop", "box_duplicates", "box_presence"  # the heads
_PROMPTS = {COARSE: "coarse", CROP: "crop", DUPLICATES: "duplicates", PRESENCE: "presence"}
VERDICTS = ("keep", "drop", "unsure")  # of coarse check and crops; unsure drops, and makes no negative
PRESENT = ("present", "absent", "unsure")  # of a phrase in a picture
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}  # that JSON leaves as they are


def _record(properties: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object that holds all of these properties and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


_TEXT, _INDEX = {"type": "string"}, {"type": "integer"}
_VERDICT = {"type": "string", "enum": list(VERDICTS)}
_BOX = _record({"index": _INDEX, "label": _TEXT, "reason": _TEXT, "verdict": _VERDICT})
_PHRASE = _record({**_BOX["properties"], "verdict": {"type": "string", "enum": list(PRESENT)}})
_OBJECT = _record({"indices": {"type": "array", "items": _INDEX}, "best": _INDEX, "reason": _TEXT})
# One object a head for ever: answers are keyed by it (gateway.answers.request_key remembers schemas by their ids).
SCHEMAS: dict[str, dict[str, Any]] = {
    COARSE: _record({"boxes": {"type": "array", "items": _BOX}}),
    CROP: _record({"reason": _TEXT, "verdict": _VERDICT}),
    DUPLICATES: _record({"objects": {"type": "array", "items": _OBJECT}}),
    PRESENCE: _record({"phrases": {"type": "array", "items": _PHRASE}}),
}


@dataclass(frozen=True)
class SentPicture:
    """A whole picture at the size at which it is sent: made once, for all requests about it."""

    rgb: np.ndarray  # uint8 (height, width, 3), nothing drawn on it
    uri: str  # the same as a data URI
    scale: tuple[float, float]  # px as sent over px of the picture, along x and y


def sent_picture(picture: Picture, grounding: GroundingConfig, vlm: JudgeConfig) -> SentPicture:
    """Scaled and encoded: tens of milliseconds of CPU."""
    size = sent_size(picture.width, picture.height, vlm.max_side)
    rgb = scaled(picture.rgb, size)
    uri = data_uri(rgb, grounding.picture_format, vlm.jpeg_quality)
    return SentPicture(rgb, uri, (size[0] / picture.width, size[1] / picture.height))


def coarse_request(
    sent: SentPicture,
    boxes: Sequence[Detection],
    grounding: GroundingConfig,
    vlm: JudgeConfig,
    correction: str = "",
) -> JudgeRequest:
    """May each of the boxes stay? Indices are 1 to len(boxes); read by `partition.read_coarse`.

    boxes: in px of the picture; each has an area inside it. correction: what was wrong with an earlier answer.
    """
    return _numbered(COARSE, sent, boxes, grounding, vlm, correction)


def duplicates_request(
    sent: SentPicture,
    boxes: Sequence[Detection],
    grounding: GroundingConfig,
    vlm: JudgeConfig,
    correction: str = "",
) -> JudgeRequest:
    """Which boxes frame one thing? As `coarse_request`; read by `partition.read_duplicates`."""
    return _numbered(DUPLICATES, sent, boxes, grounding, vlm, correction)


def crop_request(
    picture: Picture, box: Detection, grounding: GroundingConfig, vlm: JudgeConfig
) -> JudgeRequest:
    """Does the label fit what the box frames, and the box the thing? The box has an area inside the picture."""
    rgb = crop_pixels(picture.rgb, box.bbox, grounding.crop_padding, grounding.crop_side)
    uri = data_uri(rgb, grounding.picture_format, vlm.jpeg_quality)
    text = write_sections({"label": " ".join(clean(box.label).split()), "picture": _size(rgb)})
    return _request(CROP, [uri], text)


def presence_request(sent: SentPicture, phrases: Sequence[str], correction: str = "") -> JudgeRequest:
    """Which of these phrases name something in the clean picture? Indices are 1 to len(phrases).

    Read by `partition.read_presence`.
    """
    lines = [_line({"index": number, "label": clean(phrase)}) for number, phrase in enumerate(phrases, 1)]
    text = write_sections({"phrases": "\n".join(lines), "picture": _size(sent.rgb)})
    return _request(PRESENCE, [sent.uri], f"{text}\n\n{correction}" if correction else text)


def clean(label: str) -> str:
    """The label without what no JSON text can hold (halves of surrogate pairs)."""
    return label.encode("utf-8", "replace").decode("utf-8")


@cache
def prompt_version(head: str) -> str:
    """Changes with everything that the verifier is told: part of the cache key (law 4)."""
    told = "\0".join((_prompt(head), json.dumps(SCHEMAS[head], sort_keys=True)))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@cache
def _prompt(head: str) -> str:
    path = files("valor_ray").joinpath("prompts", "boxes", f"{_PROMPTS[head]}.txt")
    return path.read_text(encoding="utf-8").strip()


def _numbered(
    head: str,
    sent: SentPicture,
    boxes: Sequence[Detection],
    grounding: GroundingConfig,
    vlm: JudgeConfig,
    correction: str,
) -> JudgeRequest:
    corners = [_as_sent(box.bbox, sent) for box in boxes]
    drawn = sent.rgb.copy()
    draw_numbered(drawn, corners)
    uri = data_uri(drawn, grounding.picture_format, vlm.jpeg_quality)
    lines = [
        _line({"index": number, "label": clean(box.label), "box": list(at)})
        for number, (box, at) in enumerate(zip(boxes, corners, strict=True), 1)
    ]
    text = write_sections({"boxes": "\n".join(lines), "picture": _size(sent.rgb)})
    return _request(head, [sent.uri, uri], f"{text}\n\n{correction}" if correction else text)


def _as_sent(bbox: BBox, sent: SentPicture) -> tuple[int, int, int, int]:
    """Whole px of the picture as sent, at least one each way."""
    height, width = sent.rgb.shape[:2]
    left = min(max(round(bbox[0] * sent.scale[0]), 0), width - 1)
    top = min(max(round(bbox[1] * sent.scale[1]), 0), height - 1)
    right, bottom = min(round(bbox[2] * sent.scale[0]), width), min(round(bbox[3] * sent.scale[1]), height)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False).translate(_LINE_ENDS)


def _size(rgb: np.ndarray) -> str:
    return json.dumps({"width": int(rgb.shape[1]), "height": int(rgb.shape[0])})


def _request(head: str, uris: Sequence[str], text: str) -> JudgeRequest:
    pictures = [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]
    return JudgeRequest(
        head=head,
        version=prompt_version(head),
        messages=(
            {"role": "system", "content": _prompt(head)},
            {"role": "user", "content": [*pictures, {"type": "text", "text": text}]},
        ),
        schema=SCHEMAS[head],
    )
