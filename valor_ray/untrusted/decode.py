"""The one decoder of what others send: bytes to a JSON value, in time and memory that its limits bound."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

_BOM = b"\xef\xbb\xbf"  # some clients put it before UTF-8
_TEXT = r'"(?:[^"\\]++|\\.)*+"'
REPLACED = "\ufffd"  # the character that Unicode has for what could not be read
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
_MAYBE_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")  # strict UTF-8 holds none but as such an escape


@dataclass(frozen=True)
class Limits:
    """What a sender may send. A JSON value is refused whole when it passes one of them."""

    max_bytes: int
    depth: int = 64  # lists and objects within one another
    digits: int = 308  # characters of a number: each then fits a float
    # values and names, counted as brackets, commas and colons, those within texts too: memory is 100 bytes times this
    # (an empty object), beside three times the bytes
    values: int = 100_000
    half_pairs: Literal["refuse", "replace"] = "refuse"  # lone surrogates; replaced by REPLACED
    repeated_names: Literal["refuse", "last"] = "refuse"  # of one object; "last": the last one counts


class DecodeError(ValueError):
    """What was sent is not a JSON value within the limits. The message says what is wrong, and where."""


def decode(data: bytes | bytearray, limits: Limits) -> Any:
    """The JSON value (RFC 8259, UTF-8) that `data` holds.

    Every text in it can be written as UTF-8, every number is finite and fits a float, no name stands twice in an
    object. Raises DecodeError, whatever the bytes are; takes time and memory in proportion to `limits.max_bytes`.
    """
    if len(data) > limits.max_bytes:
        raise DecodeError(f"{len(data):,} bytes are too many, at most {limits.max_bytes:,} are read")
    if sum(map(data.count, (b",", b":", b"[", b"{"))) > limits.values:
        raise DecodeError(f"it holds too many values, at most {limits.values:,} are read")
    if not data.strip():
        raise DecodeError("not JSON: it is empty")
    try:
        text = bytes(data).removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"not UTF-8: byte {error.start + 1} cannot stand where it does") from None
    value = _parsed(text, limits)
    # without so many brackets it cannot be so deep
    if data.count(b"[") + data.count(b"{") > limits.depth and _deeper(value, limits.depth):
        raise _too_deep(limits)
    return _whole_texts(value, limits) if _MAYBE_HALF_PAIR.search(data) else value


def _parsed(text: str, limits: Limits) -> Any:
    def refused(what: str, literal: str) -> DecodeError:
        shown = literal if len(literal) <= 20 else f"{literal[:20]}…"
        start = literal[: limits.digits + 1]  # no earlier number is so long
        found = re.finditer(rf"{_TEXT}|{re.escape(start)}", text)
        position = next(match.start() for match in found if match[0] == start)
        return DecodeError(f"{what}: {shown} {_place(text, position)}")

    def short(literal: str) -> str:
        if len(literal) > limits.digits:
            raise refused(
                f"a number of {len(literal):,} characters, at most {limits.digits} are read", literal
            )
        return literal

    def real(literal: str) -> float:
        number = float(short(literal))
        if not math.isfinite(number):
            raise refused("a number that is too large", literal)
        return number

    def constant(literal: str) -> float:
        raise refused("no JSON number", literal)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
            raise DecodeError(f"an object names {_shown(name)} twice")
        return made

    try:
        return json.loads(
            text,
            parse_int=lambda literal: int(short(literal)),
            parse_float=real,
            parse_constant=constant,
            object_pairs_hook=once if limits.repeated_names == "refuse" else None,
        )
    except json.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error.msg} {_place(text, error.pos)}") from None
    except RecursionError:
        raise _too_deep(limits) from None


def _too_deep(limits: Limits) -> DecodeError:
    return DecodeError(f"lists and objects stand more than {limits.depth} deep in one another")


def _deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [inner for each in level for inner in _inside(each) if isinstance(inner, list | dict)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _whole_texts(value: Any, limits: Limits) -> Any:
    """The value without lone surrogates, which no UTF-8 file, row or terminal can take."""
    if limits.half_pairs == "replace":
        return json.loads(_HALF_PAIR.sub(REPLACED, json.dumps(value, ensure_ascii=False)))
    for path, text in _texts(value):
        if _HALF_PAIR.search(text):
            where = f" in {path}" if path else ""
            raise DecodeError(f"a text{where} holds half a character (a lone surrogate)")
    return value


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text and name in it, with the place of it: "choices[0].text", of a long one the start."""
    path = path[:80]
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{place}]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield path, name
            yield from _texts(inner, f"{path}.{name}" if path else name)


def _shown(name: str) -> str:
    return json.dumps(name if len(name) <= 40 else f"{name[:40]}…")


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"(line {line}, column {position - text.rfind(chr(10), 0, position)})"
