"""The mock verifier reads what it is asked, as a model would have to."""

import json
from typing import Any

import pytest

from valor_ray.config.tree import Config
from valor_ray.judges.boxes.requests import coarse_request, crop_request, duplicates_request, sent_picture
from valor_ray.judges.gateway.call.body import request_body
from valor_ray.perf.boxes.answers import box_answer
from valor_ray.perf.boxes.load import pictures
from valor_ray.perf.judge_load import reply_requests
from valor_ray.records import JudgeRequest

CONFIG = Config.load()
WORK = pictures(1)[0]


def body(request: JudgeRequest) -> Any:
    return json.loads(request_body(request, "mock"))


def numbered() -> tuple[JudgeRequest, JudgeRequest]:
    sent = sent_picture(WORK.picture, CONFIG.grounding, CONFIG.vlm)
    boxes = WORK.candidates
    return (
        coarse_request(sent, boxes, CONFIG.grounding, CONFIG.vlm),
        duplicates_request(sent, boxes, CONFIG.grounding, CONFIG.vlm),
    )


def test_every_index_is_answered_once_and_every_label_is_copied() -> None:
    coarse, duplicates = (json.loads(box_answer(body(request)) or "") for request in numbered())
    assert [(each["index"], each["label"]) for each in coarse["boxes"]] == [
        (place, box.label) for place, box in enumerate(WORK.candidates, 1)
    ]
    assert sorted(index for each in duplicates["objects"] for index in each["indices"]) == list(range(1, 21))


def test_a_crop_is_kept_and_other_heads_are_not_its_business() -> None:
    request = crop_request(WORK.picture, WORK.candidates[0], CONFIG.grounding, CONFIG.vlm)
    assert json.loads(box_answer(body(request)) or "")["verdict"] == "keep"
    assert box_answer(body(reply_requests(0)[0])) is None


@pytest.mark.parametrize("wrong", ["picture", "index", "sections"])
def test_a_request_that_is_not_as_agreed_is_refused(wrong: str) -> None:
    asked = body(numbered()[0])
    content = asked["messages"][-1]["content"]
    if wrong == "picture":
        del content[0]
    elif wrong == "index":
        content[-1]["text"] = content[-1]["text"].replace('"index": 1,', '"index": 0,')
    else:
        content[-1]["text"] = "which boxes are right?"
    with pytest.raises(ValueError):
        box_answer(asked)
