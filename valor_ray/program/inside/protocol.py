"""What a program and its driver say to each other: JSON messages, each behind its length, over one socket.

Program to driver, before anything came in: {"t": "locked"} or {"t": "refused", "error"}; then {"t": "call", "tool",
"args", "line"} · {"t": "print", "text"} · {"t": "done", "answer"} · {"t": "fail", "kind": "error" | "rejected" |
"memory", "error", "line"}.
Driver to program: first {"code", "size": [width, height]}, then {"result"} or {"error"} after each call.
A warm worker is told {"warm"} first, then for each program {"code", "size", "worlds", "calls", "output", "trace"},
to which it answers {"t": "surveyed", "results"}. In place of "size" and "worlds" there may be "scenes", itself JSON
text of {"scenes", "question", "words"}: then "results" holds a list of one or two for each scene.
This module is loaded in the sandbox too: standard library only.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from valor_ray.untrusted.decode import Limits
from valor_ray.untrusted.decode import decode as decode_within

MAX_MESSAGE = 1 << 20  # bytes; of a warm worker's results
MAX_ANSWER = 256 << 10  # bytes of JSON in final_answer
MAX_ARGUMENTS = 32 << 10  # bytes of JSON in the arguments of a tool call
MAX_SAID = MAX_ANSWER + 1024  # bytes; the driver ends a program that announces a longer message
MAX_DEPTH = 32  # lists and dicts within one another, in final_answer and in arguments
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
    """The JSON value of a message. Raises DecodeError, a ValueError."""
    return decode_within(body, Limits(MAX_MESSAGE))
