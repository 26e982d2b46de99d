"""The endpoints of the HTTP app: what they answer, and what they refuse."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from http_app import IMAGE, Ask, Asker, error_of, png
from PIL import ExifTags, Image

from valor_ray.config.tree import Config


def test_answer_has_the_keys_of_valor_ask_and_a_trace(ask: Ask) -> None:
    body = ask("/v1/answer", {"image": IMAGE, "question": "How many red cubes?"}).json()
    assert list(body) == ["answer", "plan", "code", "trace", "error", "seconds", "width", "height"]
    assert body["answer"] == 1 and body["error"] is None and body["plan"] == "Count the cubes."
    assert [call["tool"] for call in body["trace"]] == ["gd_detect", "depth"]
    assert body["trace"][1]["result"] == 2.0


def test_trace_says_which_detector_has_looked(ask: Ask) -> None:
    detect, depth = ask("/v1/answer", {"image": IMAGE, "question": "How many red cubes?"}).json()["trace"]
    assert detect["version"] == "step-000003" and "version" not in depth
    assert detect["result"] == [{"bbox": [1, 2, 9, 9], "label": "red cube"}]


def turned() -> bytes:
    """A JPEG of 20 x 10 that is upright on its side."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (20, 10), "red").save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "most", "size"),
    [(png(), 200, (20, 10)), (png(), 199, (10, 5)), (turned(), 200, (10, 20))],
    ids=["as it is", "halved", "turned"],
)
def test_answer_says_the_size_that_its_boxes_are_in(
    asker: Asker, data: bytes, most: int, size: tuple[int, int]
) -> None:
    ask = asker(Config.load("local", [f"images.max_pixels={most}"]), reply="no tags")
    body = {"image": base64.b64encode(data).decode(), "question": "How many?"}
    answers = [ask("/v1/answer", body | more).json() for more in ({}, {"samples": 2})]
    assert [(answer["width"], answer["height"]) for answer in answers] == [size, size]


def test_answer_takes_an_upload(ask: Ask) -> None:
    for name in ("image", "file"):
        response = ask("/v1/answer", files={name: ("a.png", png())}, data={"question": "How many?"})
        assert response.json()["answer"] == 1


@pytest.mark.parametrize("text", ["no tags", "<plan>a</plan>", "<plan>a</plan><answer>final_answer = 1"])
def test_malformed_reply_is_a_result_with_an_error_and_runs_nothing(asker: Asker, text: str) -> None:
    body = asker(reply=text)("/v1/answer", {"image": IMAGE, "question": "How many?"}).json()
    assert (
        body["answer"] is None and "malformed" in body["error"] and body["trace"] == [] and body["code"] == ""
    )


def test_failing_program_says_in_which_line(asker: Asker) -> None:
    body = asker(reply="<plan>a</plan><answer>a = 1\nfinal_answer = a / 0</answer>")(
        "/v1/answer", {"image": IMAGE, "question": "How many?"}
    ).json()
    assert body["answer"] is None and "status error in line 2" in body["error"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("float('nan')", "not a number"),
        ("chr(0xd800)", "half a character"),
        ("[1, float('inf')]", "not a number"),
        ("[" * 90 + "]" * 90, "nested too deeply"),
        ("'x' * 1_000_000", "longer than"),
        ("10**5000", "whole number"),
    ],
)
def test_answers_that_json_does_not_know_are_none_with_the_reason(
    asker: Asker, value: str, reason: str
) -> None:
    ask = asker(reply=f"<plan>a</plan><answer>final_answer = {value}</answer>")
    response = ask("/v1/answer", {"image": IMAGE, "question": "How many?"})
    body = response.json()
    assert response.status_code == 200 and body["answer"] is None, body
    assert body["error"].startswith("The program") and reason in body["error"]


def test_what_a_program_asks_for_in_vain_does_not_make_the_reply_long(asker: Asker) -> None:
    code = """
for size in (100_000, 1_000_000):
    for ask in (lambda: depth(img_pth, [[]] * (size // 4)), lambda: gd_detect(img_pth, "a" * size)):
        try:
            ask()
        except Exception:
            pass
final_answer = 1"""
    response = asker(reply=f"<plan>a</plan><answer>{code}</answer>")(
        "/v1/answer", {"image": IMAGE, "question": "a"}
    )
    assert response.json()["answer"] == 1 and len(response.content) < 20_000


def test_detect_gives_boxes_labels_and_scores(ask: Ask) -> None:
    for phrases in (["red cube", "sofa"], "red cube, sofa"):
        body = ask("/v1/detect", {"image": IMAGE, "phrases": phrases, "box_threshold": 0.5}).json()
        assert [d["label"] for d in body["detections"]] == ["red cube", "sofa"]
        assert body["detections"][0] == {"bbox": [1, 2, 9, 9], "label": "red cube", "score": 0.5}
        assert body["version"] == "step-000003"
    nothing = ask("/v1/detect", {"image": IMAGE, "phrases": "nothing"}).json()
    assert nothing == {"detections": [], "width": 20, "height": 10, "version": "step-000003"}


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


def test_body_over_the_limit_is_refused_with_and_without_a_declared_length(asker: Asker) -> None:
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
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALOR_TEST_TOKEN", "secret")
    ask = asker(Config.load("local", ["server.token_env=VALOR_TEST_TOKEN"]))
    body = {"image": IMAGE, "question": "How many?"}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}):
        assert error_of(ask("/v1/answer", body, headers=headers), 401)["code"] == "unauthorized"
    error_of(ask("/v1/models", method="GET"), 401)
    assert ask("/v1/answer", body, headers={"authorization": "Bearer secret"}).status_code == 200
    assert ask("/healthz", method="GET").status_code == ask("/", method="GET").status_code == 200


def test_too_many_requests_are_refused_at_once(asker: Asker) -> None:
    ask = asker(Config.load("local", ["policy.max_ongoing=1"]))
    body = {"image": IMAGE, "question": "wait"}
    responses = ask("/v1/answer", body, body, body, body)
    assert sorted(response.status_code for response in responses) == [200, 200, 429, 429]
    refused = next(response for response in responses if response.status_code == 429)
    assert refused.headers["retry-after"] == "1" and error_of(refused, 429)["code"] == "overloaded"
