"""Requests about boxes over HTTP: two pictures, replies in the asked form, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import numpy as np
import pytest
from fastapi.testclient import TestClient

from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.judges.boxes.proposals import CONVENTIONS, proposal_request
from valor_ray.judges.boxes.requests import (
    SCHEMAS,
    coarse_request,
    crop_request,
    duplicates_request,
    sent_picture,
)
from valor_ray.judges.sections import write_sections
from valor_ray.records import Detection, JudgeRequest
from valor_ray.tabletop.judge.app import make_app
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene

CONFIG = Config.load("local")
GROUNDING, VLM = CONFIG.grounding, CONFIG.vlm
RENDERING = render(sample_scene(1_960_000, "tiles"))
PICTURE = from_array(RENDERING.rgb)
BOXES = [Detection(thing.bbox, thing.label, 0.5) for thing in RENDERING.objects]
SENT = sent_picture(PICTURE, GROUNDING, VLM)
COARSE = coarse_request(SENT, BOXES, GROUNDING, VLM)


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    with TestClient(make_app("tabletop-judge")) as client:
        yield client


def body(request: JudgeRequest) -> dict[str, Any]:
    form = {"name": request.head, "schema": request.schema, "strict": True}
    return {
        "model": "tabletop-judge",
        "messages": json.loads(json.dumps(request.messages)),
        "response_format": {"type": "json_schema", "json_schema": form},
    }


def ask(http: TestClient, request: JudgeRequest) -> dict[str, Any]:
    reply = http.post("/v1/chat/completions", json=body(request))
    assert reply.status_code == 200, reply.text
    said = json.loads(reply.json()["choices"][0]["message"]["content"])
    assert isinstance(said, dict)
    return said


def test_every_head_answers_in_its_form(http: TestClient) -> None:
    doubles = duplicates_request(SENT, [*BOXES, BOXES[0]], GROUNDING, VLM)
    for request in (COARSE, doubles, crop_request(PICTURE, BOXES[0], GROUNDING, VLM)):
        jsonschema.validate(ask(http, request), SCHEMAS[request.head])
    proposals = proposal_request(PICTURE, ["object"], CONVENTIONS["xyxy_1000"], VLM).request
    said = ask(http, proposals)
    jsonschema.validate(said, proposals.schema)
    assert len(said["boxes"]) >= 2


def test_prompt_tokens_count_both_pictures(http: TestClient) -> None:
    usage = http.post("/v1/chat/completions", json=body(COARSE)).json()["usage"]
    text = "".join(part.get("text", "") for part in COARSE.messages[1]["content"])
    assert usage["prompt_tokens"] - len(COARSE.messages[0]["content"] + text) / 4 == pytest.approx(
        2 * (85 + 170 * 4), abs=1
    )


def test_text_after_the_sections_changes_nothing(http: TestClient) -> None:
    again = coarse_request(SENT, BOXES, GROUNDING, VLM, "It left out box 2.")
    assert ask(http, again) == ask(http, COARSE)


def refused(http: TestClient, sent: dict[str, Any]) -> tuple[int, str, str]:
    reply = http.post("/v1/chat/completions", json=sent)
    error = reply.json()["error"]
    return reply.status_code, error["code"], error["message"]


def test_wrong_number_of_pictures_is_refused(http: TestClient) -> None:
    one, three = body(COARSE), body(COARSE)
    del one["messages"][1]["content"][1]
    three["messages"][1]["content"].insert(0, three["messages"][1]["content"][0])
    status, code, message = refused(http, one)
    assert (status, code) == (400, "missing_image") and "exactly 2 pictures, not 1" in message
    assert refused(http, three)[:2] == (400, "too_many_images")


def test_pictures_of_different_sizes_are_refused(http: TestClient) -> None:
    sent = body(COARSE)
    small = sent_picture(from_array(np.zeros((300, 400, 3), np.uint8)), GROUNDING, VLM)
    sent["messages"][1]["content"][1]["image_url"]["url"] = small.uri
    assert refused(http, sent)[:2] == (400, "invalid_boxes")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Which boxes may stay?", "no section picture"),
        (write_sections({"boxes": "{", "picture": '{"width": 768, "height": 768}'}), "not valid JSON"),
        (
            write_sections(
                {
                    "boxes": '{"index": 1, "label": "cone", "box": [0, 0, 769, 10]}',
                    "picture": '{"width": 768, "height": 768}',
                }
            ),
            "does not lie inside",
        ),
    ],
)
def test_malformed_sections_are_refused_by_name(http: TestClient, text: str, why: str) -> None:
    sent = body(COARSE)
    sent["messages"][1]["content"][2]["text"] = text
    status, code, message = refused(http, sent)
    assert (status, code) == (400, "invalid_boxes") and why in message


def test_broken_pictures_are_refused(http: TestClient) -> None:
    for place in (0, 1):
        sent = body(COARSE)
        part = sent["messages"][1]["content"][place]
        part["image_url"]["url"] = part["image_url"]["url"][:100]
        assert refused(http, sent)[0] == 400


def test_noise_of_the_server_turns_verdicts_on_boxes() -> None:
    with (
        TestClient(make_app("tabletop-judge", noise=1.0)) as noisy,
        TestClient(make_app("tabletop-judge")) as plain,
    ):
        said, turned = (ask(client, COARSE)["boxes"] for client in (plain, noisy))
        assert all(a["verdict"] != b["verdict"] for a, b in zip(said, turned, strict=True))
