"""What a program and its driver say to each other: JSON messages, each behind its length, over one socket.

Program to driver: {"t": "call", "tool", "args", "line"} · {"t": "print", "text"} · {"t": "done", "answer"} ·
{"t": "fail", "kind": "error" | "rejected" | "memory" | "refused", "error", "line"}.
Driver to program: first {"code", "size": [width, height]}, then {"result"} or {"error"} after each call.
A warm worker is told {"warm"} first, then for each program {"code", "size", "worlds", "calls", "output", "trace"},
to which it answers {"t": "surveyed", "results"}. In place of "size" and "worlds" there may be "scenes", itself JSON
text of {"scenes", "question", "words"}: then "results" holds a list of one or two for each scene.
This module is loaded in the sandbox too: standard library only.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

MAX_MESSAGE = 1 << 20  # bytes; the driver ends a program that announces a longer one
MAX_ANSWER = 256 << 10  # bytes of JSON in final_answer
_LENGTH = struct.Struct(">I")
HEADER = _LENGTH.size


def encode(message: dict[str, Any]) -> bytes:
    """A message with its length in front."""
    data = body(message)
    return _LENGTH.pack(len(data)) + data


def body(value: Any) -> bytes:
    """A JSON value as it stands in a message."""
    return json.dumps(value).encode("ascii")


def length(header: bytes) -> int:
    """Bytes of the message that follows."""
    return int(_LENGTH.unpack(header)[0])


def decode(body: bytes) -> Any:
    """The JSON value of a message. Raises ValueError for broken JSON, NaN, half a character, or too deep a nesting."""
    try:
        value = json.loads(body, parse_constant=_refuse, parse_float=_finite)
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # lone surrogates break every later writer
    except RecursionError as error:
        raise ValueError("too deeply nested") from error
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number
