"""What is an endpoint's own: its fields in every request, its answers, and the section that messages name."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from rough_endpoint import endpoint, failed

from valor_ray.config.judging import JudgeConfig
from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.answers import request_key
from valor_ray.judges.gateway.call.body import FIRST
from valor_ray.judges.gateway.call.failures import explain
from valor_ray.judges.gateway.call.outcome import HttpKind, HttpOutcome
from valor_ray.judges.gateway.connect import open_judge
from valor_ray.judges.gateway.endpoint import EndpointCalls, _Work
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.judges.plan_heads import SCHEMA
from valor_ray.records import JudgeReply, JudgeRequest

KEY_OF_A32D47F = (
    "d48b62479e320ca64377665cfced113e3d26dc8165684d4be67ecfaafc9b14c5"  # before there were extra fields
)


def settings(url: str, **changes: Any) -> JudgeConfig:
    values = {
        "base_url": url,
        "model": "m",
        "api_key_env": None,
        "timeout_s": 30,
        "retries": 0,
        "patience_s": 60,
    }
    return JudgeConfig.model_validate({**values, **changes})


def ask(config: JudgeConfig, folder: Path, part: Any = "judge") -> JudgeReply:
    async def once() -> JudgeReply:
        ledger = Ledger(folder)
        judge = open_judge(config, ledger, part=part)
        try:
            message = {"role": "user", "content": "a"}
            return (await judge.ask([JudgeRequest("logic", "v1", (message,), SCHEMA)]))[0]
        finally:
            await judge.close()
            ledger.close()

    return asyncio.run(once())


def test_extra_fields_are_in_every_body_beside_ours(tmp_path: Path) -> None:
    extra = {"reasoning_effort": "minimal", "metadata": {"run": 3}}
    with endpoint() as rough:
        assert ask(settings(rough.url, extra=extra), tmp_path).content
    (body,) = rough.bodies
    assert {key: body.pop(key) for key in extra} == extra
    assert set(body) == {"model", "messages", "response_format"} and body["model"] == "m"


def test_extra_fields_are_part_of_the_question_and_their_order_is_not(tmp_path: Path) -> None:
    with endpoint() as rough:
        for extra in ({}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}, {}):
            ask(settings(rough.url, extra=extra), tmp_path)
    assert rough.calls == 3


def test_answers_of_versions_without_extra_fields_stay_valid() -> None:
    request = JudgeRequest("logic", "v1", ({"role": "user", "content": "a"},), {"type": "object"})
    assert request_key(request, "m", {}) == request_key(request, "m") == KEY_OF_A32D47F
    assert request_key(request, "m", {"a": 1}) != KEY_OF_A32D47F


@pytest.mark.parametrize("section", ["judge", "vlm", "vlm.others[0]"])
@pytest.mark.parametrize("kind", list(HttpKind))
@pytest.mark.parametrize("status", [0, 413])
def test_messages_name_keys_of_the_section_that_failed(section: str, kind: HttpKind, status: int) -> None:
    told = explain(HttpOutcome(kind, "words", status), settings("http://host/v1"), section)
    assert not (section.startswith("vlm") and "judge" in told)
    if kind in (HttpKind.TIMEOUT, HttpKind.MISNAMED, HttpKind.BROKEN, HttpKind.FORBIDDEN, HttpKind.UNKNOWN):
        assert f"{section}." in told


def test_refusal_of_a_vlm_names_its_setting(tmp_path: Path) -> None:
    async def refuse(n: int, body: dict[str, Any], request: Any) -> Any:
        return failed(401)

    with endpoint(refuse) as rough, pytest.raises(JudgeError, match=r"vlm\.api_key_env"):
        ask(settings(rough.url), tmp_path, "vlm")
    with pytest.raises(JudgeError, match=r"vlm\.base_url is not set"):
        ask(settings("http://x").model_copy(update={"base_url": None}), tmp_path, "vlm")


def test_a_request_that_was_held_back_very_often_still_waits_its_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days of 429 under a long patience: two to the power of the tries is more than a float can be."""
    monkeypatch.setattr("valor_ray.judges.gateway.endpoint._LONGEST_BACKOFF_S", 0.01)

    async def held_back() -> HttpOutcome:
        ledger, config = Ledger(tmp_path), settings("http://host/v1")
        calls = EndpointCalls(config, config, ledger, "judge", "owner", None)
        ends = iter([HttpOutcome(HttpKind.FAILED, status=503), HttpOutcome(HttpKind.REFUSED, "no")])

        async def hedged(work: Any, charged: int) -> HttpOutcome:
            calls.admission.concurrency.on_abandoned()
            return next(ends)

        monkeypatch.setattr(calls, "_hedged", hedged)
        asked = JudgeRequest("logic", "v1", ({"role": "user", "content": "a"},), SCHEMA)
        work = _Work(asked, FIRST, time.monotonic(), 1, {}, throttled=5000, failures=-1)
        outcome, _ = await calls._until_answered(work)
        await calls.close()
        ledger.close()
        return outcome

    assert asyncio.run(held_back()).kind is HttpKind.REFUSED


def test_two_models_of_one_account_have_a_limit_each(tmp_path: Path) -> None:
    """A minute's limit of one holds back none of the other's thirty calls, which would take it half a minute."""

    async def seconds(url: str) -> float:
        ledger = Ledger(tmp_path)
        slow = open_judge(settings(url, model="a", requests_per_minute=60), ledger)
        fast = open_judge(settings(url, model="b", requests_per_minute=60_000, patience_s=90), ledger)
        asked = [
            JudgeRequest("logic", str(n), ({"role": "user", "content": "a"},), SCHEMA) for n in range(30)
        ]
        try:
            await slow.ask(asked[:1])
            start = time.monotonic()
            assert all(reply.content for reply in await fast.ask(asked))
            return time.monotonic() - start
        finally:
            await slow.close()
            await fast.close()
            ledger.close()

    with endpoint() as rough:
        assert asyncio.run(seconds(rough.url)) < 25  # at the slow one's rate, 30
