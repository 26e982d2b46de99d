"""The driver's half of the talk with a program that has got hold of its socket."""

import json
from typing import Any

import pytest
from raw_program import call, framed, said

from valor_ray.config.service import SandboxConfig
from valor_ray.program.messages import Tampered, read

DEPTH = {"img_pth": "image.png", "bbox": [1, 2, 3, 4]}


def ending(*chunks: bytes, config: SandboxConfig | None = None) -> tuple[str, str]:
    end, _ = said(chunks, config)
    assert end is not None
    return str(end.status), str(end.error)


def test_a_program_that_keeps_to_the_protocol_is_served() -> None:
    end, talk = said(
        [
            framed({"t": "print", "text": "é\0😀\n"}),
            call("depth", DEPTH),
            framed({"t": "done", "answer": [1]}),
        ]
    )
    assert end is not None and (end.status, end.answer) == ("ok", [1])
    assert talk.output == "é\0😀\n" and [each.tool for each in talk.calls] == ["depth"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"t": "call"}',
        b'{"t": ["call"]}',
        b'{"t": "print", "text": 1}',
        b'{"t": "print", "text": ""}',
        b'{"t": "print", "text": "a", "more": 1}',
        b'{"t": "print", "text": "a"}' + b" " * 200,
        b'{"t": "print", "t": "done", "text": "a", "answer": 1}',
        b'{"t": "print", "text": "\xed\xa0\x80"}',
        b'{"t": "print", "text": "\\ud800"}',
        b'{"t": "done", "answer": null}',
        b'{"t": "done", "answer": NaN}',
        b'{"t": "done", "answer": 1e999}',
        b'{"t": "done", "answer": "\\udfff"}',
        b'{"t": "done", "answer": %s}' % (b"9" * 5000),
        b'{"t": "done", "answer": %s}' % (b"[" * 500 + b"]" * 500),
        b'{"t": "done", "answer": "%s"}' % (b"x" * (257 << 10)),
        b'{"t": "done", "answer": 1, "padding": "%s"}' % (b"x" * 1000),
        b'{"t": "fail", "kind": "refused", "error": "no walls here", "line": null}',
        b'{"t": "fail", "kind": "judge", "error": "503", "line": null}',
        b'{"t": "fail", "kind": "error", "error": "\\ud800", "line": null}',
        b'{"t": "fail", "kind": "error", "error": "x", "line": true}',
        b'{"t": "fail", "kind": "error", "error": "x", "line": -1}',
        b'{"t": "fail", "kind": "error", "error": "x", "line": %s}' % (b"9" * 300),
        b'{"t": "fail", "kind": "error", "error": "x"}',
        b'{"t": "refused", "error": "no walls here"}',
        b'{"t": "locked"}',
        b'{"t": "surveyed", "results": []}',
        b'{"t": "call", "tool": "vqa", "args": {"prompt": "\\ud800"}, "line": 1}',
        b'{"t": "call", "tool": "vqa", "args": {"prompt": "%s"}, "line": 1}' % (b"x" * 40_000),
        b'{"t": "call", "tool": "vqa", "args": [], "line": 1}',
    ],
)
def test_what_our_half_never_says_ends_the_program_as_killed(body: bytes) -> None:
    status, error = ending(framed(body))
    assert status == "killed" and ("tampered" in error or "too long" in error) and len(error) < 400
    with pytest.raises(Tampered):
        read(body)


def test_no_more_than_a_message_is_read() -> None:
    assert ending(b"\xff\xff\xff\xff") == ("killed", "the program sent a message that is too long")
    assert said([b"\0\0\0\x05{"])[0] is None  # it left in the middle of one
    assert said([b"\0"])[0] is None
    assert said([framed({"t": "print", "text": "a"})])[0] is None


def test_prints_count_by_bytes_and_by_messages() -> None:
    small = SandboxConfig(output_kib=1, max_calls=1)
    end, talk = said([framed({"t": "print", "text": "é" * 400})] * 2, small)
    assert end is not None and "printed more than 1 KiB" in str(end.error)
    assert talk.output == "é" * 512
    assert "more prints" in ending(*[framed({"t": "print", "text": "a"})] * 100, config=small)[1]


def test_calls_beyond_the_limit_end_the_program() -> None:
    status, error = ending(*[call("depth", DEPTH)] * 4, config=SandboxConfig(max_calls=3))
    assert (status, error) == ("killed", "the program made more than 3 tool calls")


@pytest.mark.parametrize(
    "args",
    [
        {"img_pth": "image.png", "bbox": [[]] * 5_000},
        {"img_pth": "image.png", "bbox": "x" * 20_000},
        {"img_pth": "image.png", "bbox": {"a" * 200: ["b"] * 2000}},
        {"img_pth": "image.png", "bbox": [10**300] * 4},
        {"n" * 1000: 1},
        {str(number): number for number in range(1500)},
        {"img_pth": "image.png", "bbox": int("9" * 300)},
    ],
)
def test_of_a_refused_call_only_the_start_is_kept(args: dict[str, Any]) -> None:
    _, talk = said([call("depth", args), call("no such tool" * 100, args)])
    first, second = talk.calls
    for refused in (first, second):
        assert refused.error and len(refused.error) < 300
        assert len(json.dumps(refused.args)) < 3000
    assert len(second.tool) <= 40


def test_a_short_refused_call_is_kept_as_it_was_made() -> None:
    args = {"img_pth": "photo.jpg", "bbox": [1, 2, 3]}
    assert said([call("depth", args)])[1].calls[0].args == args


def test_error_texts_are_cut_and_hold_no_paths() -> None:
    end, _ = said([framed({"t": "fail", "kind": "error", "error": "/home/me/x " + "y" * 5000, "line": 3})])
    assert end is not None and end.line == 3
    assert str(end.error).startswith("<path> yyy") and len(str(end.error)) <= 600
