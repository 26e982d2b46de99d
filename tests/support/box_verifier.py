"""A verifier that follows a script and speaks the real protocol: it reads requests and fills their schemas."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.judges.gateway.answers import request_key
from valor_ray.judges.gateway.call.schema import fits
from valor_ray.judges.sections import read_sections
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.records import JudgeReply, JudgeRequest, Picture, Usage

Spoil = Callable[
    [int, Any], Any
]  # number of the request with this head (from 0), right content -> what it says


class ScriptedVerifier:
    """Drops boxes with "bad" in the label at the coarse check, "poor" at the crops; objects are boxes of IoU > 0.3.

    Of a picture's phrases those with "no" in them are absent, with "maybe" unsure, all others present.
    """

    def __init__(self, model: str = "scripted") -> None:
        self.model = model
        self.asks: list[list[JudgeRequest]] = []  # a list for each call of ask
        self.spoil: dict[str, Spoil] = {}  # by head
        self.stored: set[str] = set()  # keys of requests that were answered
        self._asked: dict[str, int] = {}

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.asks.append(list(requests))
        return [self._answer(request) for request in requests]

    def of(self, head: str) -> list[JudgeRequest]:
        return [request for asked in self.asks for request in asked if request.head == head]

    def _answer(self, request: JudgeRequest) -> JudgeReply:
        sections = self.read(request)
        content: Any = _ANSWERS[request.head](sections)
        number = self._asked.get(request.head, 0)
        self._asked[request.head] = number + 1
        if request.head in self.spoil:
            content = self.spoil[request.head](number, content)
        if isinstance(content, JudgeReply):
            return content
        assert fits(content, request.schema), content
        key = request_key(request, self.model)
        usage = Usage(0.1, 100, 10, 0.001, 1, model=self.model)
        if key in self.stored:
            usage = Usage(cached=True, model=self.model)
        self.stored.add(key)
        return JudgeReply(content, usage=usage)

    @staticmethod
    def read(request: JudgeRequest) -> dict[str, Any]:
        """The sections of a request and its pictures' pixels, checked as an endpoint would check them."""
        system, user = request.messages
        assert system["role"] == "system" and system["content"] and user["role"] == "user"
        *pictures, text = user["content"]
        sections: dict[str, Any] = dict(read_sections(text["text"]))
        said = json.loads(sections["picture"])
        rgbs = []
        for part in pictures:
            head, data = part["image_url"]["url"].split(",", 1)
            with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
                assert head == f"data:image/{(image.format or '').lower()};base64"
                assert image.size == (said["width"], said["height"])
                rgbs.append(np.array(image.convert("RGB")))
        assert len(rgbs) == (1 if request.head in ("box_crop", "box_presence") else 2)
        if "phrases" in sections:
            sections["phrases"] = [json.loads(line) for line in sections["phrases"].split("\n")]
            assert [each["index"] for each in sections["phrases"]] == list(
                range(1, len(sections["phrases"]) + 1)
            )
        if "boxes" in sections:
            sections["boxes"] = [json.loads(line) for line in sections["boxes"].split("\n")]
            assert [box["index"] for box in sections["boxes"]] == list(range(1, len(sections["boxes"]) + 1))
            for box in sections["boxes"]:
                x1, y1, x2, y2 = box["box"]
                assert 0 <= x1 < x2 <= said["width"] and 0 <= y1 < y2 <= said["height"]
        return {**sections, "rgbs": rgbs, "text": text["text"], "size": said}


def coarse(sections: dict[str, Any]) -> dict[str, Any]:
    return {
        "boxes": [
            {
                "index": box["index"],
                "label": box["label"],
                "reason": f"saw {box['index']}",
                "verdict": "drop" if "bad" in box["label"] else "keep",
            }
            for box in sections["boxes"]
        ]
    }


def crop(sections: dict[str, Any]) -> dict[str, Any]:
    return {"reason": "saw it", "verdict": "drop" if "poor" in sections["label"] else "keep"}


def duplicates(sections: dict[str, Any]) -> dict[str, Any]:
    """The first box of each object is its best."""
    objects: list[list[dict[str, Any]]] = []
    for box in sections["boxes"]:
        for group in objects:
            overlap = iou_matrix(np.array([box["box"]]), np.array([group[0]["box"]]))[0, 0]
            if group[0]["label"] == box["label"] and overlap > 0.3:
                group.append(box)
                break
        else:
            objects.append([box])
    return {
        "objects": [
            {"indices": [box["index"] for box in group], "best": group[0]["index"], "reason": "tightest"}
            for group in objects
        ]
    }


def presence(sections: dict[str, Any]) -> dict[str, Any]:
    return {
        "phrases": [
            {
                "index": each["index"],
                "label": each["label"],
                "reason": "looked",
                "verdict": "absent"
                if "no" in each["label"]
                else "unsure"
                if "maybe" in each["label"]
                else "present",
            }
            for each in sections["phrases"]
        ]
    }


_ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "box_coarse": coarse,
    "box_crop": crop,
    "box_duplicates": duplicates,
    "box_presence": presence,
}


@pytest.fixture
def verifier() -> ScriptedVerifier:
    return ScriptedVerifier()


@pytest.fixture
def picture() -> Picture:
    """400x300 px of noise over a slope."""
    rng = np.random.default_rng(0)
    slope = np.linspace(40, 200, 400)[None, :, None] + rng.normal(0, 12, (300, 400, 3))
    return from_array(slope.clip(0, 255).astype(np.uint8))


@pytest.fixture
def config() -> Config:
    return Config.load()
