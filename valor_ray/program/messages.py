"""What a program's process says, read: every byte of it is the program's, checked here before anything uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from valor_ray.program.inside import protocol
from valor_ray.untrusted.decode import DecodeError, Limits, decode

# the message, its arguments and an `image` stand around what is at most MAX_DEPTH deep; every byte may be a value
LIMITS = Limits(protocol.MAX_SAID, depth=protocol.MAX_DEPTH + 4, values=protocol.MAX_SAID)
_KINDS_OF_FAILURE = ("error", "rejected", "memory")
_MOST_ERROR = 600  # characters; our half in the process says 500
_MOST_LINES = 1 << 30
_PRINTED = 6  # bytes that our half sends of a printed one: all is spelt in ASCII, a NUL as \u0000
_AROUND = 128  # bytes of a message around text, answer or arguments


@dataclass(frozen=True)
class Call:
    """It waits for the result of a tool."""

    tool: str
    args: dict[str, Any]  # JSON values, as they were given
    line: int


@dataclass(frozen=True)
class Printed:
    text: str  # not empty


@dataclass(frozen=True)
class Done:
    """Its last word: it set final_answer."""

    answer: Any  # JSON value, not None


@dataclass(frozen=True)
class Failed:
    """Its last word: it did not get to its end."""

    kind: str  # of _KINDS_OF_FAILURE
    error: str
    line: int | None


class Tampered(ValueError):
    """A message that our half in the process never sends."""


def read(body: bytes) -> Call | Printed | Done | Failed:
    """One message of a program's process, without its length. Raises Tampered, and nothing else.

    Linear in the bytes, of which there are at most protocol.MAX_SAID.
    """
    try:
        message = decode(body, LIMITS)
    except DecodeError as error:
        raise Tampered(str(error)) from None
    if not isinstance(message, dict):
        _tampered("no object")
    match message:
        case {"t": "call", "tool": str(tool), "args": dict(args), "line": line, **rest} if not rest:
            if len(body) > protocol.MAX_ARGUMENTS + _AROUND:
                _tampered("a call that is too long")
            return Call(tool[:40], args, line_number(line))
        case {"t": "print", "text": str(text), **rest} if text and not rest:
            # or padding would keep the driver busy and never count as output
            if len(body) > _PRINTED * len(text.encode("utf-8")) + _AROUND:
                _tampered("a print that is longer than its text")
            return Printed(text)
        case {"t": "done", "answer": answer, **rest} if answer is not None and not rest:
            if len(body) > protocol.MAX_ANSWER + _AROUND:
                _tampered("an answer that is too long")
            return Done(answer)
        case {"t": "fail", "kind": str(kind), "error": str(why), "line": line, **rest} if not rest:
            if kind not in _KINDS_OF_FAILURE:
                _tampered("a failure of no such kind")
            return Failed(kind, why[:_MOST_ERROR], None if line is None else line_number(line))
    _tampered("no message")


def line_number(value: object) -> int:
    """A line of a program, as the driver believes it. Raises Tampered."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST_LINES:
        _tampered("no line number")
    return value


def _tampered(what: str) -> NoReturn:
    raise Tampered(what)
