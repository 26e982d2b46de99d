"""The HTTP app without Ray: real parsing, tools and sandbox behind it; scripted ports in place of the models."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from deployments.http.app import Parts, make_app
from valor_ray.config.tree import Config
from valor_ray.errors import JudgeError, PolicyError, ServiceError
from valor_ray.ports import Versioned
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import DepthMap, Detection, Picture, Reply

COUNT = """<plan>Count the cubes.</plan><answer>
found = gd_detect(img_pth, "red cube")
print(depth(img_pth, found[0]["bbox"]))
final_answer = len(found)
</answer>"""


class Policy:
    def __init__(self, text: str) -> None:
        self.text = text

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        if question == "fail":
            raise PolicyError("the engine died")
        if question == "wait":
            await asyncio.sleep(1)
        return [Reply(self.text, (), (), "v0", "stop")] * n


class Detector:
    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        boxes = (Detection((1.0, 2.0, 9.0, 9.0), phrase, box_threshold or 0.35) for phrase in phrases)
        return Versioned(boxes if phrases != ("nothing",) else (), "step-000003")


class Depth:
    async def depth(self, picture: Picture) -> DepthMap:
        depth = np.full(picture.rgb.shape[:2], 2.0, dtype=np.float32)
        depth[0] = np.inf
        return DepthMap(depth, 100.0)


class Vqa:
    async def vqa(self, picture: Picture, question: str) -> str:
        if question == "fail":
            raise JudgeError("the endpoint is down")
        if question == "crash":
            raise RuntimeError("unforeseen")
        if question == "restart":
            raise ServiceError("the judge is being restarted")
        return "red"


async def healthy() -> dict[str, dict[str, Any]]:
    return {"policy": {"status": "ok", "version": "v0"}}


def png(width: int = 20, height: int = 10) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


IMAGE = "data:image/png;base64," + base64.b64encode(png()).decode()
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def asker() -> Iterator[Callable[..., Ask]]:
    """Makes functions that send requests to an app, several at once when given several bodies."""
    with asyncio.Runner() as runner:
        sandbox = Sandbox(Config.load().sandbox)  # one for all tests; it starts with the first program

        def make(config: Config | None = None, reply: str = COUNT) -> Ask:
            config = config or Config.load()
            parts = Parts(Policy(reply), Detector(), Depth(), Vqa(), sandbox, healthy)
            transport = httpx.ASGITransport(make_app(config, parts), raise_app_exceptions=False)

            def send(path: str, *bodies: Any, method: str = "POST", **options: Any) -> Any:
                async def run() -> list[httpx.Response]:
                    async with httpx.AsyncClient(transport=transport, base_url="http://valor") as client:
                        requests = [{"json": body} | options for body in bodies] or [options]
                        return await asyncio.gather(*(client.request(method, path, **r) for r in requests))

                responses = runner.run(run())
                return responses[0] if len(responses) == 1 else responses

            return send

        yield make
        runner.run(sandbox.close())


@pytest.fixture
def ask(asker: Callable[..., Ask]) -> Ask:
    return asker()


def error_of(response: httpx.Response, status: int) -> dict[str, str]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] and error["message"]
    return error


def test_answer_has_the_keys_of_valor_ask_and_a_trace(ask: Ask) -> None:
    body = ask("/v1/answer", {"image": IMAGE, "question": "How many red cubes?"}).json()
    assert list(body) == ["answer", "plan", "code", "trace", "error", "seconds"]
    assert body["answer"] == 1 and body["error"] is None and body["plan"] == "Count the cubes."
    assert [call["tool"] for call in body["trace"]] == ["gd_detect", "depth"]
    assert body["trace"][1]["result"] == 2.0


def test_trace_says_which_detector_has_looked(ask: Ask) -> None:
    detect, depth = ask("/v1/answer", {"image": IMAGE, "question": "How many red cubes?"}).json()["trace"]
    assert detect["version"] == "step-000003" and "version" not in depth
    assert detect["result"] == [{"bbox": [1, 2, 9, 9], "label": "red cube"}]


def test_answer_takes_an_upload(ask: Ask) -> None:
    for name in ("image", "file"):
        response = ask("/v1/answer", files={name: ("a.png", png())}, data={"question": "How many?"})
        assert response.json()["answer"] == 1


@pytest.mark.parametrize("text", ["no tags", "<plan>a</plan>", "<plan>a</plan><answer>final_answer = 1"])
def test_malformed_reply_is_a_result_with_an_error_and_runs_nothing(
    asker: Callable[..., Ask], text: str
) -> None:
    body = asker(reply=text)("/v1/answer", {"image": IMAGE, "question": "How many?"}).json()
    assert (
        body["answer"] is None and "malformed" in body["error"] and body["trace"] == [] and body["code"] == ""
    )


def test_failing_program_says_in_which_line(asker: Callable[..., Ask]) -> None:
    body = asker(reply="<plan>a</plan><answer>a = 1\nfinal_answer = a / 0</answer>")(
        "/v1/answer", {"image": IMAGE, "question": "How many?"}
    ).json()
    assert body["answer"] is None and "status error in line 2" in body["error"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("float('nan')", "not a number"),
        ("chr(0xd800)", "its connection"),
        ("[1, float('inf')]", "not a number"),
    ],
)
def test_answers_that_json_does_not_know_are_none_with_the_reason(
    asker: Callable[..., Ask], value: str, reason: str
) -> None:
    ask = asker(reply=f"<plan>a</plan><answer>final_answer = {value}</answer>")
    response = ask("/v1/answer", {"image": IMAGE, "question": "How many?"})
    body = response.json()
    assert response.status_code == 200 and body["answer"] is None, body
    assert body["error"].startswith("The program") and reason in body["error"]


def test_detect_gives_boxes_labels_and_scores(ask: Ask) -> None:
    for phrases in (["red cube", "sofa"], "red cube, sofa"):
        body = ask("/v1/detect", {"image": IMAGE, "phrases": phrases, "box_threshold": 0.5}).json()
        assert [d["label"] for d in body["detections"]] == ["red cube", "sofa"]
        assert body["detections"][0] == {"bbox": [1, 2, 9, 9], "label": "red cube", "score": 0.5}
        assert body["version"] == "step-000003"
    nothing = ask("/v1/detect", {"image": IMAGE, "phrases": "nothing"}).json()
    assert nothing == {"detections": [], "version": "step-000003"}


def test_depth_is_npy_in_metres_or_a_coloured_png(ask: Ask) -> None:
    body = ask("/v1/depth", {"image": IMAGE}).json()
    depth = np.load(io.BytesIO(base64.b64decode(body["depth"])))
    assert (
        depth.dtype == np.float32 and depth.shape == (10, 20) and depth[5, 5] == 2 and np.isinf(depth[0, 0])
    )
    response = ask("/v1/depth", {"image": IMAGE, "format": "png"})
    assert response.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(response.content)).size == (20, 10)


def test_vqa_answers(ask: Ask) -> None:
    assert ask("/v1/vqa", {"image": IMAGE, "question": "What colour?"}).json() == {"answer": "red"}


def chat(**changes: Any) -> dict[str, Any]:
    content = [
        {"type": "text", "text": "How many red cubes?"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]
    return {"model": "valor", "messages": [{"role": "user", "content": content}]} | changes


def test_chat_answers_and_traces_on_request(ask: Ask) -> None:
    message = ask("/v1/chat/completions", chat()).json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "1", "refusal": None}
    traced = ask("/v1/chat/completions", chat(trace=True)).json()["choices"][0]["message"]["valor"]
    assert traced["answer"] == 1 and len(traced["trace"]) == 2


def test_chat_streams_in_one_piece(ask: Ask) -> None:
    lines = ask("/v1/chat/completions", chat(stream=True)).text.split("\n\n")
    assert json.loads(lines[0].removeprefix("data: "))["choices"][0]["delta"]["content"] == "1"
    assert lines[2] == "data: [DONE]"


def test_chat_takes_the_last_question_and_keeps_the_picture(ask: Ask) -> None:
    before = [*chat()["messages"], {"role": "assistant", "content": "1"}]
    and_then, fail = ([*before, {"role": "user", "content": text}] for text in ("And?", "fail"))
    answered = ask("/v1/chat/completions", chat(messages=and_then)).json()["choices"][0]["message"]
    assert answered == {"role": "assistant", "content": "1", "refusal": None}
    assert error_of(ask("/v1/chat/completions", chat(messages=fail)), 502)["code"] == "policy"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"model": "gpt-5"}, 404, "model_not_found"),
        ({"model": None}, 404, "model_not_found"),
        ({"messages": None}, 400, "request"),
        ({"messages": []}, 400, "request"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "request"),
        ({"messages": [{"role": "user", "content": "no picture"}]}, 400, "image"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 400, "request"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "request"),
        ({"n": 2}, 400, "request"),
        ({"seed": -1}, 400, "request"),
    ],
)
def test_bad_chats_are_refused(ask: Ask, changes: dict[str, Any], status: int, code: str) -> None:
    assert error_of(ask("/v1/chat/completions", chat(**changes)), status)["code"] == code


def test_models_lists_valor(ask: Ask) -> None:
    assert ask("/v1/models", method="GET").json()["data"][0]["id"] == "valor"


def test_page_and_health_are_there(ask: Ask) -> None:
    assert "<title>valor" in ask("/", method="GET").text
    assert ask("/healthz", method="GET").json()["parts"]["policy"]["version"] == "v0"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"image": IMAGE}, "request"),
        ({"question": "How many?"}, "image"),
        ({"image": IMAGE, "question": ""}, "question"),
        ({"image": IMAGE, "question": " \n"}, "question"),
        ({"image": IMAGE, "question": 7}, "question"),
        ({"image": IMAGE, "question": "x" * 100_000}, "question"),
        ({"image": IMAGE, "question": "a\0b"}, "question"),
        ({"image": IMAGE, "question": "How many?", "img": 1}, "request"),
        ({"image": IMAGE, "question": "How many?", "seed": "x"}, "request"),
        ({"image": 7, "question": "How many?"}, "image"),
        ({"image": "", "question": "How many?"}, "image"),
        ({"image": "!!!", "question": "How many?"}, "image"),
        ({"image": "/etc/passwd", "question": "How many?"}, "image"),
        ({"image": "file:///etc/passwd", "question": "How many?"}, "image"),
        ({"image": "http://127.0.0.1:8000/x.png", "question": "How many?"}, "image"),
        ({"image": "data:image/png;base64,aGVsbG8=", "question": "How many?"}, "image"),
    ],
)
def test_bad_questions_and_pictures_are_refused(ask: Ask, body: dict[str, Any], code: str) -> None:
    assert error_of(ask("/v1/answer", body), 400)["code"] == code


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"nul", b"\xff\xfe", b"[" * 100_000, b'{"question": "\\ud800", "image": ""}'],
)
def test_broken_json_is_refused(ask: Ask, content: bytes) -> None:
    error_of(ask("/v1/answer", content=content, headers={"content-type": "application/json"}), 400)


def test_other_media_types_are_refused(ask: Ask) -> None:
    for media_type in ("text/plain", "image/png", ""):
        error_of(ask("/v1/answer", content=png(), headers={"content-type": media_type}), 415)


def test_broken_multipart_is_refused(ask: Ask) -> None:
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=b"):
        error_of(ask("/v1/answer", content=b"--b\r\nnonsense", headers={"content-type": content_type}), 400)
    error_of(ask("/v1/answer", files={"photo": ("a.png", png())}, data={"question": "How many?"}), 400)


@pytest.mark.parametrize(
    "change",
    [
        {"phrases": None},
        {"phrases": []},
        {"phrases": [1]},
        {"phrases": " , "},
        {"phrases": ["a", "b" * 101]},
        {"phrases": [f"thing {i}" for i in range(65)]},
        {"box_threshold": 2},
        {"box_threshold": "x"},
        {"box_threshold": True},
    ],
)
def test_bad_detection_requests_are_refused(ask: Ask, change: dict[str, Any]) -> None:
    error_of(ask("/v1/detect", {"image": IMAGE, "phrases": ["sofa"]} | change), 400)


def test_unknown_paths_methods_and_formats_are_refused(ask: Ask) -> None:
    assert error_of(ask("/v1/nothing", {}), 404)["code"] == "not_found"
    assert error_of(ask("/v1/answer", method="GET"), 405)["code"] == "method_not_allowed"
    error_of(ask("/v1/depth", {"image": IMAGE, "format": "gif"}), 400)


def test_body_over_the_limit_is_refused_with_and_without_a_declared_length(asker: Callable[..., Ask]) -> None:
    ask = asker(Config.load("local", ["images.max_bytes=1000"]))
    assert error_of(ask("/v1/answer", {"image": "x" * 80_000, "question": "a"}), 413)["code"] == "too_large"

    async def pieces() -> Any:
        for _ in range(80):
            yield b"x" * 1000

    assert error_of(ask("/v1/answer", content=pieces(), headers={"content-type": "application/json"}), 413)


def test_failures_of_parts_have_their_status_and_code(ask: Ask) -> None:
    assert error_of(ask("/v1/answer", {"image": IMAGE, "question": "fail"}), 502)["code"] == "policy"
    assert error_of(ask("/v1/vqa", {"image": IMAGE, "question": "fail"}), 502)["code"] == "judge"
    assert error_of(ask("/v1/vqa", {"image": IMAGE, "question": "restart"}), 503)["code"] == "service"
    assert error_of(ask("/v1/vqa", {"image": IMAGE, "question": "crash"}), 500)["code"] == "internal"


def test_token_guards_the_api_and_leaves_page_and_health_open(
    asker: Callable[..., Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALOR_TEST_TOKEN", "secret")
    ask = asker(Config.load("local", ["server.token_env=VALOR_TEST_TOKEN"]))
    body = {"image": IMAGE, "question": "How many?"}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}):
        assert error_of(ask("/v1/answer", body, headers=headers), 401)["code"] == "unauthorized"
    error_of(ask("/v1/models", method="GET"), 401)
    assert ask("/v1/answer", body, headers={"authorization": "Bearer secret"}).status_code == 200
    assert ask("/healthz", method="GET").status_code == ask("/", method="GET").status_code == 200


def test_too_many_requests_are_refused_at_once(asker: Callable[..., Ask]) -> None:
    ask = asker(Config.load("local", ["policy.max_ongoing=1"]))
    body = {"image": IMAGE, "question": "wait"}
    responses = ask("/v1/answer", body, body, body, body)
    assert sorted(response.status_code for response in responses) == [200, 200, 429, 429]
    refused = next(response for response in responses if response.status_code == 429)
    assert refused.headers["retry-after"] == "1" and error_of(refused, 429)["code"] == "overloaded"
