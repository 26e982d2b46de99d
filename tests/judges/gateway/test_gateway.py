"""The gateway against endpoints that misbehave, over real HTTP: nothing is lost, paid twice, or told that is secret."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from rough_endpoint import YES, Rough, endpoint, failed, said

from valor_ray.config.judging import JudgeConfig
from valor_ray.doctor.listening import free_port
from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.call.body import tokens_of
from valor_ray.judges.gateway.gateway import CallEvent, Gateway
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.judges.plan_heads import SCHEMA
from valor_ray.judges.vqa import VQA_SCHEMA
from valor_ray.records import JudgeReply, JudgeRequest

KEY = "sk-planted-secret-123"
T = TypeVar("T")


def config(url: str, **changes: Any) -> JudgeConfig:
    values = {
        "base_url": url,
        "model": "m",
        "api_key_env": None,
        "timeout_s": 30,
        "retries": 2,
        "patience_s": 20,
    }
    return JudgeConfig.model_validate({**values, **changes})


def request(text: str = "a", head: str = "logic") -> JudgeRequest:
    return JudgeRequest(head, "v1", ({"role": "user", "content": text},), SCHEMA)


def with_gateway(
    settings: JudgeConfig, folder: Path, use: Callable[[Gateway], Awaitable[T]], **more: Any
) -> T:
    async def once() -> T:
        ledger = Ledger(folder)
        gateway = Gateway(settings, settings, ledger, **more)
        try:
            return await use(gateway)
        finally:
            await gateway.close()
            ledger.close()

    return asyncio.run(once())


def ask(settings: JudgeConfig, folder: Path, *texts: str, **more: Any) -> list[JudgeReply]:
    return with_gateway(settings, folder, lambda gateway: gateway.ask([request(t) for t in texts]), **more)


def verdicts(replies: list[JudgeReply]) -> list[str | None]:
    return [None if reply.content is None else str(reply.content["verdict"]) for reply in replies]


def test_answer_is_stored_before_it_is_used_and_never_paid_for_again(tmp_path: Path) -> None:
    with endpoint() as rough:
        first = ask(config(rough.url), tmp_path, "a", "b", "a")
        again = ask(config(rough.url), tmp_path, "b", "a")
    assert verdicts(first) == ["yes"] * 3 and verdicts(again) == ["yes"] * 2
    assert rough.calls == 2
    assert [reply.usage.cached for reply in first] == [False, False, True]
    assert all(reply.usage.cached and reply.usage.prompt_tokens == 0 for reply in again)


def test_other_prompt_version_model_or_head_is_another_question(tmp_path: Path) -> None:
    async def use(gateway: Gateway) -> None:
        one = request()
        await gateway.ask([one, JudgeRequest("logic", "v2", one.messages, SCHEMA), request(head="spatial")])

    with endpoint() as rough:
        with_gateway(config(rough.url), tmp_path, use)
        with_gateway(config(rough.url, model="other"), tmp_path, use)
    assert rough.calls == 6


def test_body_carries_schema_and_no_temperature(tmp_path: Path) -> None:
    with endpoint() as rough:
        ask(config(rough.url), tmp_path, "a")
    (body,) = rough.bodies
    assert body["response_format"]["json_schema"] == {"name": "logic", "strict": True, "schema": SCHEMA}
    assert set(body) == {"model", "messages", "response_format"}


@pytest.mark.parametrize(
    "content",
    [
        "7",
        "",
        None,
        "not json",
        '{"reason": "x", "verdict": "7"}',
        '{"reason": "x", "verdict": true}',
        '{"verdict": "yes"}',
        '{"reason": "x", "verdict": "yes", "sure": 1}',
        '["yes"]',
        '{"reason": "x", "verd',
        "[" * 100000,
    ],
)
def test_broken_answer_is_asked_for_once_more_and_then_missing(tmp_path: Path, content: str | None) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return said(content)

    with endpoint(behave) as rough:
        (reply,) = ask(config(rough.url), tmp_path, "a")
    assert reply.content is None and "answer format" in reply.missing
    assert rough.calls == 2


def test_broken_answer_that_is_mended_the_second_time_counts(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return said("{" if n == 0 else YES)

    with endpoint(behave) as rough:
        assert verdicts(ask(config(rough.url), tmp_path, "a")) == ["yes"]
    assert rough.calls == 2


@pytest.mark.parametrize("half", ["\ud800", "\\ud800"], ids=["in the reply", "in the answer's own JSON"])
def test_half_a_surrogate_pair_is_kept_out_of_answers_and_of_the_store(tmp_path: Path, half: str) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return said('{"reason": "caf\\u00e9 HALF", "verdict": "yes"}'.replace("HALF", half))

    with endpoint(behave) as rough:
        for _ in range(2):  # the second comes from the store
            (reply,) = ask(config(rough.url), tmp_path, "a")
            assert reply.content == {"reason": "café \ufffd", "verdict": "yes"}
    assert rough.calls == 1


@pytest.mark.parametrize("half", ["\ud800", "\\ud800", "re\\udc00d"])
def test_an_answer_with_half_a_character_is_missing_and_never_another_answer(
    tmp_path: Path, half: str
) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return said('{"answer": "HALF"}'.replace("HALF", half))

    with endpoint(behave) as rough:
        asked = replace(request("a"), schema=VQA_SCHEMA)
        (reply,) = with_gateway(config(rough.url), tmp_path, lambda gateway: gateway.ask([asked]))
    assert reply.content is None and "half a character in answer" in reply.missing


def test_refusal_is_missing_at_once(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return said(None, refusal="cannot tell: no plan")

    with endpoint(behave) as rough:
        (reply,) = ask(config(rough.url), tmp_path, "a")
    assert reply.content is None and "cannot tell" in reply.missing and rough.calls == 1


def test_non_json_and_ten_megabytes_are_missing(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return (
            web.Response(text="<html>")
            if body["messages"][0]["content"] == "html"
            else web.Response(text="x" * 10**7)
        )

    with endpoint(behave) as rough:
        replies = ask(config(rough.url), tmp_path, "html", "big")
    assert verdicts(replies) == [None, None] and "1 MiB" in replies[1].missing


def test_slow_drip_ends_with_the_time_limit_of_a_try(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.StreamResponse:
        if n:
            return said(YES)
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(600):
            await response.write(b" ")
            await asyncio.sleep(0.1)
        return response

    started = time.monotonic()
    with endpoint(behave) as rough:
        assert verdicts(ask(config(rough.url, timeout_s=2, hedge=False), tmp_path, "a")) == ["yes"]
    assert time.monotonic() - started < 30 and rough.calls == 2


def test_429_waits_as_long_as_it_is_told_and_burns_no_retry(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return failed(429, "slow down", **{"Retry-After": "0.3"}) if n < 4 else said(YES)

    with endpoint(behave) as rough:
        (reply,) = ask(config(rough.url, retries=0), tmp_path, "a")
    assert verdicts([reply]) == ["yes"] and reply.usage.tries == 5
    assert min(b - a for a, b in zip(rough.times, rough.times[1:], strict=False)) >= 0.29


def test_500s_are_tried_again_and_then_missing_never_no(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return failed(500)

    with endpoint(behave) as rough:
        (reply,) = ask(config(rough.url), tmp_path, "a")
    assert reply.content is None and "500" in reply.missing and rough.calls == 3


def test_with_five_retries_a_call_that_is_alone_in_flight_waits_an_outage_out(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return failed(503) if n < 8 else said(YES)

    with endpoint(behave) as rough:
        assert verdicts(ask(config(rough.url, retries=5), tmp_path, "a")) == ["yes"]


def test_a_call_with_patience_of_its_own_does_not_wait_an_outage_out(tmp_path: Path) -> None:
    """A user asks about a picture: after its tries it is told, however long the patience."""

    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return failed(503)

    asked = replace(request("a"), patience_s=60.0)
    with endpoint(behave) as rough:
        (reply,) = with_gateway(config(rough.url, retries=5), tmp_path, lambda gateway: gateway.ask([asked]))
    assert reply.content is None and "503" in reply.missing and rough.calls == 6


def test_refused_key_stops_everything_at_once_and_names_the_variable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return failed(401, f"Incorrect key {KEY}")

    started = time.monotonic()
    with endpoint(behave) as rough, pytest.raises(JudgeError, match="MY_KEY") as caught:
        texts = [str(i) for i in range(500)]
        ask(config(rough.url, api_key_env="MY_KEY", first_in_flight=4), tmp_path, *texts, api_key=KEY)
    assert time.monotonic() - started < 30 and rough.calls < 20
    assert KEY not in repr(caught.value) + caplog.text and caught.value.__cause__ is None


def test_key_is_in_no_reply_log_record_or_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[CallEvent] = []

    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        return failed(400, f"bad request by {KEY}")

    with endpoint(behave) as rough:
        (reply,) = ask(config(rough.url), tmp_path, "a", api_key=KEY, observe=events.append)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert "…" in reply.missing and KEY not in repr(reply) + repr(events) + caplog.text
    assert KEY.encode() not in stored


def test_unknown_model_stops_at_once(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return failed(404, "no such model")

    with endpoint(behave) as rough, pytest.raises(JudgeError, match=r"judge\.model"):
        ask(config(rough.url), tmp_path, "a")


def test_wrong_address_stops_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(JudgeError, match=r"judge\.base_url"):
        ask(config("https://no-such-host.invalid/v1", patience_s=300), tmp_path, "a")
    assert time.monotonic() - started < 60


def test_tls_that_is_none_stops_at_once(tmp_path: Path) -> None:
    with endpoint() as rough, pytest.raises(JudgeError, match="TLS"):
        ask(config(rough.url.replace("http", "https")), tmp_path, "a")


def test_judge_that_is_down_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As the issue's 60 s, in 4: the breaker opens, work waits with one message, then all of it is done."""
    port = free_port()

    async def use(gateway: Gateway) -> list[JudgeReply]:
        asking = asyncio.create_task(gateway.ask([request(str(i)) for i in range(40)]))
        await asyncio.sleep(4)
        assert not asking.done() and not gateway.up
        with endpoint(port=port):
            return await asking

    replies = with_gateway(config(f"http://127.0.0.1:{port}/v1", retries=0), tmp_path, use)
    assert verdicts(replies) == ["yes"] * 40
    assert sum("Work waits" in line for line in caplog.messages) == 1
    assert sum("answers again" in line for line in caplog.messages) == 1


def test_patience_ends_with_a_missing_verdict(tmp_path: Path) -> None:
    settings = config(f"http://127.0.0.1:{free_port()}/v1", patience_s=1.5)
    (reply,) = ask(settings, tmp_path, "a")
    assert reply.content is None and reply.missing


def test_straggler_is_hedged(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        if body["messages"][0]["content"] == "hangs" and n < 61:
            await asyncio.sleep(30)
        return said(YES)

    async def use(gateway: Gateway) -> tuple[list[JudgeReply], float]:
        await gateway.ask([request(str(i)) for i in range(60)])
        started = time.monotonic()
        return await gateway.ask([request("hangs")]), time.monotonic() - started

    with endpoint(behave) as rough:
        replies, seconds = with_gateway(config(rough.url), tmp_path, use)
    assert verdicts(replies) == ["yes"] and seconds < 25 and replies[0].usage.tries == 2
    usage = replies[0].usage  # the other try's, which went on without us, is estimated
    assert (usage.prompt_tokens, usage.completion_tokens) == (100 + tokens_of(request("hangs")), 10 + 10)


def test_equal_requests_in_flight_are_asked_once(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return said(YES)

    async def use(gateway: Gateway) -> list[list[JudgeReply]]:
        return list(await asyncio.gather(*(gateway.ask([request("same")]) for _ in range(30))))

    with endpoint(behave) as rough:
        groups = with_gateway(config(rough.url), tmp_path, use)
    assert rough.calls == 1 and all(verdicts(group) == ["yes"] for group in groups)
    assert sum(not group[0].usage.cached for group in groups) == 1


def test_two_gateways_on_one_ledger_ask_once(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return said(YES)

    async def both(url: str) -> list[list[JudgeReply]]:
        ledger, settings = Ledger(tmp_path), config(url)
        gateways = [Gateway(settings, settings, ledger) for _ in range(2)]
        crossed = [[request("a"), request("b")], [request("b"), request("a")]]
        groups = await asyncio.gather(*(g.ask(r) for g, r in zip(gateways, crossed, strict=True)))
        await asyncio.gather(*(gateway.close() for gateway in gateways))
        ledger.close()
        return list(groups)

    with endpoint(behave) as rough:
        groups = asyncio.run(both(rough.url))
    assert rough.calls == 2 and all(verdicts(group) == ["yes", "yes"] for group in groups)


def test_full_disk_loses_no_verdict_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = json.dumps({"reason": "x" * 4000, "verdict": "yes"})

    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        return said(long)

    async def use(gateway: Gateway) -> list[JudgeReply]:
        store = gateway._ledger._store  # type: ignore[attr-defined]  # the disk is filled from inside
        store._db.execute("PRAGMA max_page_count=1")
        first = await gateway.ask([request(str(i)) for i in range(20)])
        return first + await gateway.ask([request("last")])

    with endpoint(behave) as rough:
        replies = with_gateway(config(rough.url), tmp_path, use)
    assert verdicts(replies) == ["yes"] * 21
    assert sum("Free space" in line for line in caplog.messages) == 1


def test_cancelled_caller_does_not_lose_what_is_paid_for(tmp_path: Path) -> None:
    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return said(YES)

    async def use(gateway: Gateway) -> list[JudgeReply]:
        asking = asyncio.create_task(gateway.ask([request("a")]))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.sleep(0.6)
        return await gateway.ask([request("a")])

    with endpoint(behave) as rough:
        assert verdicts(with_gateway(config(rough.url), tmp_path, use)) == ["yes"]
    assert rough.calls == 1


_KILLED = """
import asyncio, sys
from pathlib import Path
from test_gateway import Gateway, Ledger, config, request
async def main():
    settings = config(sys.argv[1], first_in_flight=4, max_in_flight=4)
    gateway = Gateway(settings, settings, Ledger(Path(sys.argv[2])))
    for i in range(0, 60, 4):
        await gateway.ask([request(str(j)) for j in range(i, i + 4)])
        print(i, flush=True)
asyncio.run(main())
"""


def test_killed_process_repeats_no_stored_call(tmp_path: Path) -> None:
    def run(rough: Rough) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        command = [sys.executable, "-c", _KILLED, rough.url, str(tmp_path)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})

    async def behave(n: int, body: Any, request: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return said(YES)

    with endpoint(behave) as rough:
        first = run(rough)
        assert first.stdout is not None
        while int(first.stdout.readline()) < 20:
            pass
        first.send_signal(signal.SIGKILL)
        first.wait()
        first.stdout.close()
        second = run(rough)
        assert second.wait(30) == 0 and second.stdout is not None
        second.stdout.close()
    asked = [json.dumps(body["messages"]) for body in rough.bodies]
    repeated = len(asked) - len(set(asked))
    assert len(set(asked)) == 60 and repeated <= 4  # at most those in flight when it was killed


def test_events_tell_head_outcome_and_cost(tmp_path: Path) -> None:
    events: list[CallEvent] = []
    with endpoint() as rough:
        ask(config(rough.url, price_in=1.0, price_out=10.0), tmp_path, "a", observe=events.append)
        ask(config(rough.url), tmp_path, "a", observe=events.append)
    first, second = events
    assert (first.head, first.outcome, first.verdict) == ("logic", "answered", "yes")
    assert first.usage.cost_usd == pytest.approx((100 * 1 + 10 * 10) / 1e6)
    assert second.outcome == "cached" and second.usage.cost_usd == 0
