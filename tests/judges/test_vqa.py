"""The client against the offline judge and against endpoints that misbehave, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from valor_ray.config.judging import JudgeConfig
from valor_ray.errors import ConfigError, JudgeError
from valor_ray.images import from_array, to_jpeg_uri
from valor_ray.judges.gateway.gateway import Gateway
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.judges.gateway.offline import OfflineJudge
from valor_ray.judges.vqa import VqaJudge
from valor_ray.records import JudgeReply, JudgeRequest

KEY = "sk-planted-secret-123"
PICTURE = from_array(np.full((40, 40, 3), (200, 40, 30), np.uint8))


def config(url: str, **changes: object) -> JudgeConfig:
    values = {"base_url": url, "model": "tabletop-judge", "api_key_env": None, "timeout_s": 30, "retries": 0}
    return JudgeConfig.model_validate({**values, **changes})


def ask(settings: JudgeConfig, question: str = "What colour is this?", api_key: str | None = None) -> str:
    async def once(folder: str) -> str:
        ledger = Ledger(Path(folder))
        gateway = Gateway(settings, settings, ledger, api_key)
        try:
            return await VqaJudge(gateway, settings).vqa(PICTURE, question)
        finally:
            await gateway.close()
            ledger.close()

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(once(folder))


@contextmanager
def endpoint(reply: Callable[[int], tuple[int, str]]) -> Iterator[tuple[str, list[dict]]]:
    """A server whose n-th answer (from 0) is reply(n) = (status, body); yields its URL and the bodies it got."""
    got: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            status, body = reply(len(got) - 1)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", got
    finally:
        server.shutdown()
        server.server_close()


def said(content: str | None) -> str:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    )


def failure(status: int, text: str) -> tuple[int, str]:
    return status, json.dumps({"error": {"message": text, "type": "x", "param": None, "code": None}})


def test_offline_judge_answers_through_the_client() -> None:
    with OfflineJudge() as judge:
        assert ask(config(judge.base_url)) == "red"
        assert ask(config(judge.base_url), "Which way is north?") == "cannot tell"
    assert judge.process.poll() is not None


def test_request_carries_schema_prompt_question_and_jpeg() -> None:
    with endpoint(lambda n: (200, said('{"answer": " Red. "}'))) as (url, got):
        assert ask(config(url)) == "red"
    (body,) = got
    assert body["response_format"]["json_schema"]["strict"] is True
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    picture, text = body["messages"][1]["content"]
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert text["text"] == "What colour is this?"


def test_malformed_answer_is_asked_for_once_more() -> None:
    replies = ["red", '{"answer": "red"}']
    with endpoint(lambda n: (200, said(replies[n]))) as (url, got):
        assert ask(config(url)) == "red"
    assert len(got) == 2


@pytest.mark.parametrize(
    "content",
    ["red", '{"answer": 7}', '{"answer": "red", "sure": true}', '["red"]', "", None],
)
def test_answer_outside_the_schema_is_an_error(content: str | None) -> None:
    with (
        endpoint(lambda n: (200, said(content))) as (url, got),
        pytest.raises(JudgeError, match="answer format"),
    ):
        ask(config(url))
    assert len(got) == 2


def test_empty_answer_is_an_error() -> None:
    with (
        endpoint(lambda n: (200, said('{"answer": " "}'))) as (url, _),
        pytest.raises(JudgeError, match="empty answer"),
    ):
        ask(config(url))


def test_completion_without_choices_and_non_json_are_errors() -> None:
    for body in ("{}", "<html>"):
        with (
            endpoint(lambda n, body=body: (200, body)) as (url, _),
            pytest.raises(JudgeError, match="answer format"),
        ):
            ask(config(url))


def test_refused_key_names_the_variable_and_never_the_key() -> None:
    for status in (401, 400):
        with (
            endpoint(lambda n, status=status: failure(status, f"Incorrect key {KEY}")) as (url, _),
            pytest.raises(JudgeError) as caught,
        ):
            ask(config(url, api_key_env="MY_KEY"), api_key=KEY)
        assert KEY not in repr(caught.value) and caught.value.__cause__ is None
        assert status == 400 or "MY_KEY" in str(caught.value)


def test_missing_key_variable_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="NOT_SET_HERE"):
        ask(config("http://127.0.0.1:9/v1", api_key_env="NOT_SET_HERE"))


def test_unreachable_judge_names_url_and_setting() -> None:
    with pytest.raises(JudgeError, match=r"Cannot reach .*127\.0\.0\.1:9/v1.*judge\.base_url"):
        ask(config("http://127.0.0.1:9/v1"))


def test_server_failure_is_tried_again() -> None:
    with endpoint(lambda n: failure(500, "oops") if n == 0 else (200, said('{"answer": "yes"}'))) as (
        url,
        got,
    ):
        assert ask(config(url, retries=1)) == "yes"
    assert len(got) == 2


@pytest.mark.parametrize(
    ("status", "word"),
    [(404, "judge.model"), (429, "requests_per_minute"), (413, "max_side"), (503, "its log")],
)
def test_status_errors_say_what_to_change(status: int, word: str) -> None:
    with endpoint(lambda n: failure(status, "no")) as (url, _), pytest.raises(JudgeError, match=word):
        ask(config(url, timeout_s=2))


def test_slow_judge_is_a_timeout_error() -> None:
    wait = threading.Event()

    def hang(_n: int) -> tuple[int, str]:
        wait.wait(3)
        return 200, said('{"answer": "yes"}')

    with endpoint(hang) as (url, _):
        with pytest.raises(JudgeError, match=r"within 0\.3 s"):
            ask(config(url, timeout_s=0.3))
        wait.set()


@pytest.mark.parametrize(("side", "beside"), [(40, False), (800, True)])
def test_a_large_picture_is_scaled_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, side: int, beside: bool
) -> None:
    asked: list[JudgeRequest] = []
    threads: list[bool] = []

    class Judge:
        async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
            asked.extend(requests)
            return [JudgeReply({"answer": "red"})]

    def noting(*args: Any) -> str:
        threads.append(threading.current_thread() is not threading.main_thread())
        return to_jpeg_uri(*args)

    monkeypatch.setattr("valor_ray.judges.vqa.to_jpeg_uri", noting)
    picture, settings = from_array(np.full((side, side, 3), 9, np.uint8)), config("http://host/v1")
    assert asyncio.run(VqaJudge(Judge(), settings).vqa(picture, "?")) == "red" and threads == [beside]
    uri = asked[0].messages[1]["content"][0]["image_url"]["url"]  # type: ignore[index]
    assert uri == to_jpeg_uri(picture, settings.jpeg_quality, settings.max_side)
