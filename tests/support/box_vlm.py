"""A scripted VLM that knows the boxes of its pictures and writes them in one convention, whatever it is asked for."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from valor_ray import images
from valor_ray.grounding.generate.calibrate import KnownPicture
from valor_ray.judges.sections import read_sections
from valor_ray.records import BBox, JudgeReply, JudgeRequest, Picture, Usage

_SIDE = 12  # px of the thumbnails by which it knows a picture again


def shade(number: int, size: tuple[int, int] = (120, 90)) -> Picture:
    """A plain grey picture; 0 to 20 are told apart after a JPEG too."""
    return images.from_array(np.full((size[1], size[0], 3), 12 * number, np.uint8))


def write_box(name: str, bbox: BBox, original: tuple[int, int], sent: tuple[int, int]) -> list[float]:
    """A box of the original picture in a convention; not the code that reads it."""
    width, height = original
    if name == "xyxy_pixels":
        return [round(v * s / o) for v, s, o in zip(bbox, sent * 2, original * 2, strict=True)]
    unit = [side / whole for side, whole in zip(bbox, (width, height) * 2, strict=True)]
    if name == "xyxy_unit":
        return [round(side, 4) for side in unit]
    left, top, right, bottom = (round(1000 * side) for side in unit)
    return [left, top, right, bottom] if name == "xyxy_1000" else [top, left, bottom, right]


class BoxVlm:
    """ports.Judge. `convention`: that it writes in; "": the one that it is asked for."""

    def __init__(self, known: Sequence[KnownPicture], convention: str = "") -> None:
        self.known, self.convention = list(known), convention
        self.missing: dict[int, str] = {}  # number of a known picture -> why there is no answer
        self.asked: list[int] = []  # numbers of the pictures it was shown
        self._thumbnails = np.stack([_thumbnail(Image.fromarray(one.picture.rgb)) for one in known])

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        return [self._reply(request) for request in requests]

    def _reply(self, request: JudgeRequest) -> JudgeReply:
        number, boxes = self.answer(request.messages)
        if number in self.missing:
            return JudgeReply(None, self.missing[number], Usage(tries=5))
        return JudgeReply({"boxes": boxes}, usage=Usage(tries=1, prompt_tokens=100, cost_usd=0.01))

    def answer(self, messages: Sequence[Mapping[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
        """Which picture is shown, and the boxes of it that are asked for."""
        image, text = messages[-1]["content"]
        data = base64.b64decode(image["image_url"]["url"].partition(",")[2])
        with Image.open(io.BytesIO(data)) as shown:
            distance = np.abs(self._thumbnails - _thumbnail(shown)).sum((1, 2, 3))
        number = int(distance.argmin())
        self.asked.append(number)
        sections = read_sections(text["text"])
        size = json.loads(sections["picture"])
        picture, truth = self.known[number].picture, self.known[number].truth
        boxes = [
            {
                "label": label,
                "box": write_box(
                    self.convention or sections["format"],
                    bbox,
                    (picture.width, picture.height),
                    (size["width"], size["height"]),
                ),
            }
            for label in sections["labels"].splitlines()
            for bbox in truth.get(label, ())
        ]
        return number, boxes


def _thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
