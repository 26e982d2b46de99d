"""Repairs over HTTP: what a caller may ask for, what he sees of the replies that failed, and a part that is down."""

from __future__ import annotations

from typing import Any

import http_app
import httpx
import pytest
from http_app import COUNT, IMAGE, Asker, chat, error_of
from writers_of_tests import Says

from deployments.http.app import make_app
from deployments.http.endpoints import Parts
from valor_ray.config.tree import Config

ASKED = {"image": IMAGE, "question": "How many red cubes?"}
BROKEN = COUNT.replace("len(found)", "len(fond)")


def post(asker: Asker, path: str, body: dict[str, Any], policy: Says, *settings: str) -> httpx.Response:
    parts = Parts(
        policy, http_app.Detector(), http_app.Depth(), http_app.Vqa(), asker.sandbox, http_app.healthy
    )
    transport = httpx.ASGITransport(make_app(Config.load("local", settings), parts))

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://valor") as client:
            return await client.post(path, json=body)

    return asker.run(run())


def test_a_failed_program_is_repaired_and_shown_before_the_answer(asker: Asker) -> None:
    body = post(asker, "/v1/answer", ASKED | {"repairs": 1}, Says(BROKEN, COUNT)).json()
    (first,) = body["attempts"]
    assert (body["answer"], body["error"]) == (1, None) and "unrepaired" not in body
    assert "NameError" in first["error"] and first["reply"] == BROKEN and len(first["trace"]) == 2


def test_settings_repair_where_the_caller_does_not_say_and_off_is_the_default(asker: Asker) -> None:
    assert "attempts" not in post(asker, "/v1/answer", ASKED, Says(BROKEN)).json()
    on = ("answer.repairs=1",)
    assert post(asker, "/v1/answer", ASKED, Says(BROKEN, COUNT), *on).json()["answer"] == 1
    off = post(asker, "/v1/answer", ASKED | {"repairs": 0}, Says(BROKEN), *on).json()
    assert off["error"] and "attempts" not in off


def test_the_chat_repairs_too_and_its_record_tells(asker: Asker) -> None:
    body = post(asker, "/v1/chat/completions", chat(repairs=1, trace=True), Says(BROKEN, COUNT)).json()
    message = body["choices"][0]["message"]
    assert message["content"] == "1" and len(message["valor"]["attempts"]) == 1


def test_a_judge_that_is_down_is_not_the_programs_doing(asker: Asker) -> None:
    asks = '<plan>Ask.</plan><answer>final_answer = vqa(img_pth, None, "fail")</answer>'
    policy = Says(asks)
    body = post(asker, "/v1/answer", ASKED | {"repairs": 2}, policy).json()
    assert body["error"] and "The judge failed: the endpoint is down" in body["unrepaired"]
    assert len(policy.asked) == 1 and "attempts" not in body


@pytest.mark.parametrize("wish", [-1, 5, "many", 1.5, True])
def test_what_cannot_be_is_refused_with_the_field(asker: Asker, wish: object) -> None:
    error = error_of(post(asker, "/v1/answer", ASKED | {"repairs": wish}, Says()), 400)
    assert error["param"] == "repairs" and ("answer.max_repairs" in error["message"]) == (wish == 5)
