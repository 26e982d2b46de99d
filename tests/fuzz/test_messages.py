"""Whatever bytes come in: a JSON value within the limits that every later reader can take, or DecodeError."""

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from raw_program import framed, said

from valor_ray.untrusted.decode import DecodeError, Limits, decode

LIMITS = Limits(4096, depth=8, digits=30, values=200)
TEXTS = st.text(st.characters(codec=None), max_size=20)  # half pairs among them
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)
MARKS = b'[ ] { } , : " \\ \\u \\ud800 \\udc00 NaN - 1e 1e30 1E400 -0.0 null true "a"'.split()
TOKENS = st.sampled_from([*MARKS, b"9" * 40, b"\xed\xa0\x80", b"\n", b"\0", b"\xff", b"\xef\xbb\xbf", b" "])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """JSON with some bytes cut out, doubled, or put in between."""
    data = json.dumps(draw(VALUES)).encode()
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 8)))
        data = (
            data[:start] + draw(st.binary(max_size=4) | TOKENS) + data[draw(st.sampled_from([start, end])) :]
        )
    return data


def sound(value: Any, depth: int = LIMITS.depth) -> bool:
    """Whether a value is what `decode` promises."""
    if isinstance(value, str):
        return bool(value.encode("utf-8") or True)
    if isinstance(value, list | dict):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return depth > 0 and all(sound(each, depth - 1) for each in inner)
    return value is None or (isinstance(value, float) and math.isfinite(value)) or abs(value) < 10**30


@given(st.binary(max_size=200) | st.lists(TOKENS, max_size=30).map(b"".join) | mutated())
def test_any_bytes_are_a_sound_value_or_refused_in_few_words(data: bytes) -> None:
    try:
        value = decode(data, LIMITS)
    except DecodeError as error:
        assert 0 < len(str(error)) < 400 and str(error).encode("utf-8")
    else:
        assert sound(value)


@given(VALUES)
def test_what_was_written_within_the_limits_is_read_as_it_was(value: Any) -> None:
    data = json.dumps(value).encode()
    try:
        read = decode(data, LIMITS)
    except DecodeError:
        lone = any("\ud800" <= char <= "\udfff" for char in json.dumps(value, ensure_ascii=False))
        assert lone or not sound(value) or len(data) > LIMITS.max_bytes or _values(data) > LIMITS.values
    else:
        assert read == json.loads(data)


def _values(data: bytes) -> int:
    return sum(map(data.count, (b",", b":", b"[", b"{")))


MESSAGES = st.fixed_dictionaries(
    {"t": st.sampled_from(["call", "print", "done", "fail", "refused", "locked", "surveyed"])},
    optional={
        "tool": st.sampled_from(["depth", "vqa", "GD_DETECT", "x" * 90]) | VALUES,
        "args": st.dictionaries(st.sampled_from(["img_pth", "bbox", "prompt"]) | TEXTS, VALUES, max_size=4),
        "line": st.integers(-1, 9) | VALUES,
        "text": TEXTS,
        "answer": VALUES,
        "kind": st.sampled_from(["error", "rejected", "memory", "refused"]) | TEXTS,
        "error": TEXTS,
    },
).map(framed)


@given(st.lists(MESSAGES | mutated().map(framed) | st.binary(max_size=12), max_size=6))
def test_whatever_a_process_says_is_at_worst_its_own_failure(chunks: list[bytes]) -> None:
    end, talk = said(chunks)
    assert end is None or end.status in ("ok", "error", "killed", "rejected")
    assert sound([] if end is None else end.answer, 40) and len(talk.calls) <= 6
    assert all(len(json.dumps(call.args)) < 40_000 for call in talk.calls)
