"""The offline judge over real HTTP: what it sees, and what it refuses."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import openai
import psutil
import pytest

from valor_ray.judges.gateway.offline import OfflineJudge
from valor_ray.tabletop.judge.measure import crop_questions, scene_questions
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene

READY = "offline judge ready at "
SERVER = [sys.executable, "-m", "valor_ray.tabletop.judge.server", "--port", "0"]


def uri(rgb: np.ndarray, kind: str = "jpeg") -> str:
    _, data = cv2.imencode("." + kind, np.ascontiguousarray(rgb[..., ::-1]))
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


RED = uri(np.full((40, 40, 3), (200, 40, 30), np.uint8))


def body(picture: str | None = RED, question: str = "What colour is this?", **more: Any) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if picture is not None:
        content.append({"type": "image_url", "image_url": {"url": picture}})
    return {"model": "tabletop-judge", "messages": [{"role": "user", "content": content}], **more}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with OfflineJudge() as judge:
        yield judge.base_url


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


def ask(http: httpx.Client, rgb: np.ndarray, question: str) -> str:
    reply = http.post("/chat/completions", json=body(uri(rgb), question))
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("look", "colour", "shape"), [("tiles", 0.93, 0.85), ("wood", 0.93, 0.85), ("loud", 0.7, 0.7)]
)
def test_judge_names_what_is_in_the_box(http: httpx.Client, look: str, colour: float, shape: float) -> None:
    least = {"colour": colour, "shape": shape, "claim": 0.85}
    right: dict[str, list[bool]] = {kind: [] for kind in least}
    for seed in range(2_500_000, 2_500_008):
        for kind, crop, question, truth in crop_questions(
            render(sample_scene(seed, look)), np.random.default_rng(seed)
        ):
            right[kind].append(ask(http, crop, question) == truth)
    shares = {kind: float(np.mean(values)) for kind, values in right.items()}
    assert all(shares[kind] >= least[kind] for kind in least), shares


def test_judge_counts_and_finds_in_whole_pictures(http: httpx.Client) -> None:
    right = []
    for seed in range(2_500_100, 2_500_115):
        for _, picture, question, truth in scene_questions(
            render(sample_scene(seed, "tiles")), np.random.default_rng(seed)
        ):
            right.append(ask(http, picture, question) == truth)
    assert np.mean(right) >= 0.7


def test_openai_client_gets_schema_output_models_and_usage(url: str) -> None:
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["tabletop-judge"]
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    form = {"type": "json_schema", "json_schema": {"name": "vqa", "schema": schema}}
    reply = client.chat.completions.create(**body(response_format=form))  # type: ignore[call-overload]
    assert json.loads(reply.choices[0].message.content) == {"answer": "red"}
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 255
    with pytest.raises(openai.NotFoundError, match="tabletop-judge"):
        client.chat.completions.create(**{**body(), "model": "gpt-5-mini"})  # type: ignore[call-overload]


def test_answer_keeps_to_the_options_of_question_and_schema(http: httpx.Client) -> None:
    assert (
        ask(http, np.full((40, 40, 3), (200, 40, 30), np.uint8), "What colour is it? Options: {blue, red}")
        == "red"
    )
    schema = {"type": "object", "properties": {"answer": {"type": "string", "enum": ["green", "red"]}}}
    form = {"type": "json_schema", "json_schema": {"name": "vqa", "schema": schema}}
    reply = http.post("/chat/completions", json=body(response_format=form)).json()
    assert json.loads(reply["choices"][0]["message"]["content"]) == {"answer": "red"}


def test_question_beyond_a_look_gets_cannot_tell(http: httpx.Client) -> None:
    assert ask(http, np.zeros((64, 64, 3), np.uint8), "Which of them is taller?") == "cannot tell"
    assert ask(http, np.zeros((2, 2, 3), np.uint8), "What colour is this?") == "cannot tell"


BROKEN = base64.b64encode(b"no picture").decode()
_head, _payload = RED.split(",")
ARRAY = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}
TRUNCATED = f"{_head},{base64.b64encode(base64.b64decode(_payload)[:400]).decode()}"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"[]", 400, None),
        ({**body(), "model": "other"}, 404, "model_not_found"),
        ({**body(), "model": None}, 400, None),
        ({**body(), "messages": []}, 400, None),
        ({**body(), "messages": ["hello"]}, 400, None),
        ({**body(), "messages": [{"role": "user", "content": 7}]}, 400, None),
        ({**body(), "messages": [{"role": "user", "content": [{"type": "audio"}]}]}, 400, None),
        (body(picture=None), 400, "missing_image"),
        (body(question=""), 400, None),
        (body("https://example.org/a.png"), 400, "invalid_image_url"),
        (body("file:///etc/passwd"), 400, "invalid_image_url"),
        (body("data:image/png;base64,@@@"), 400, "invalid_base64"),
        (body("data:image/png;base64,é"), 400, "invalid_base64"),
        (body(f"data:image/png;base64,{BROKEN}"), 400, "invalid_image"),
        (body(TRUNCATED), 400, "invalid_image"),
        (body("data:image/png;base64,"), 400, "invalid_image"),
        (body(stream=True), 400, "unsupported_value"),
        (body(n=3), 400, "unsupported_value"),
        (body(response_format={"type": "json_schema"}), 400, None),
        (body(response_format=ARRAY), 400, "unsupported_schema"),
    ],
)  # fmt: skip
def test_malformed_request_gets_an_error_object(
    http: httpx.Client, sent: Any, status: int, code: str | None
) -> None:
    reply = http.post("/chat/completions", content=sent if isinstance(sent, bytes) else json.dumps(sent))
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"] and error["code"] == code


def test_huge_body_and_huge_picture_are_refused(http: httpx.Client) -> None:
    assert http.post("/chat/completions", content=b" " * (33 * 2**20)).status_code == 413
    bomb = uri(np.zeros((7000, 7000, 3), np.uint8), "png")
    reply = http.post("/chat/completions", json=body(bomb))
    assert reply.status_code == 400 and reply.json()["error"]["code"] == "image_too_large"


def test_unknown_path_and_method_get_error_objects(http: httpx.Client) -> None:
    assert http.get("/chat/completions").json()["error"]["message"]
    assert http.post("/completions", json={}).status_code == 404


def _start(*more: str, code: str | None = None) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-c", code] if code else [*SERVER, *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(READY), line
    return process, line.removeprefix(READY).strip()


def test_token_is_required_when_one_is_set(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    process, base = _start("--token-file", str(tmp_path / "token"))
    try:
        assert httpx.get(base + "/models").status_code == 401
        assert (
            httpx.post(base + "/chat/completions", json=body()).json()["error"]["code"] == "invalid_api_key"
        )
        good = {"Authorization": "Bearer s3cret"}
        assert httpx.post(base + "/chat/completions", json=body(), headers=good).status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) is not None


def test_judge_ends_when_its_parent_is_killed() -> None:
    middle = f"import subprocess, time; subprocess.Popen({SERVER!r}); time.sleep(60)"
    parent, base = _start(code=middle)
    (judge,) = psutil.Process(parent.pid).children()
    assert httpx.get(base.removesuffix("/v1") + "/healthz").status_code == 200
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 5
    while judge.is_running() and judge.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.1)
    assert not judge.is_running() or judge.status() == psutil.STATUS_ZOMBIE


def test_taken_port_is_said_and_ends_with_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [*SERVER[:-1], str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and "--port 0" in done.stderr


def test_judge_cannot_reach_truth() -> None:
    code = "import sys, valor_ray.tabletop.judge.server as _; print(*(m for m in sys.modules if m[:5] == 'valor'))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name for name in loaded if not name.startswith("valor_ray.tabletop.judge.")} == {
        "valor_ray",
        "valor_ray.errors",
        "valor_ray.judges",
        "valor_ray.judges.sections",
        "valor_ray.ports",
        "valor_ray.program",
        "valor_ray.program.phrases",
        "valor_ray.program.syntax_tree",
        "valor_ray.records",
        "valor_ray.tabletop",
        "valor_ray.tabletop.judge",
        "valor_ray.tools",
    }
