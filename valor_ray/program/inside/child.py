"""Inside the sandbox: run one program and tell the driver how it ended.

Nothing here is a wall: a program can reach and change all of it. The walls are in `lockdown`, the checks in the driver.
This module is loaded in the sandbox only: standard library and numpy.
"""

from __future__ import annotations

import os
import sys
import traceback
from types import CodeType
from typing import Any

from valor_ray.program.inside import protocol
from valor_ray.program.inside.channel import Channel, ToolError, calling_line, failing_line, message_of
from valor_ray.program.inside.namespace import Call, defined, forked_builtins
from valor_ray.program.inside.values import answer_to_json, arguments_to_json
from valor_ray.program.inside.wrap import compile_program
from valor_ray.program.walls.lockdown import SOCKET_FD

_AT_ONCE = 16384  # characters that are printed in one message
# made while there is memory
_NO_MEMORY = protocol.encode({"t": "fail", "kind": "memory", "error": "", "line": None})


def run(request: dict[str, Any], stubs: CodeType, channel: Channel) -> None:
    """Run the program of the driver's first message, send how it ended."""
    output = Output(channel)
    sys.stdout = sys.stderr = output
    try:
        compiled = compile_program(request["code"])
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "too deeply nested"
        _fail(channel, "rejected", f"the program does not parse: {reason}", line)
        return
    size = (request["size"][0], request["size"][1])
    names = defined(size, stubs, _caller(channel, output), forked_builtins())
    try:
        exec(compiled, names)
        output.flush()
        _finish(channel, names.get("final_answer"))
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)
        names.clear()
        os.write(SOCKET_FD, _NO_MEMORY)
    except SystemExit as error:
        line = failing_line(error.__traceback__)
        _fail(
            channel, "error", "the program called exit(): set final_answer and use return to stop early", line
        )
    except BaseException as error:  # noqa: BLE001 the process boundary: whatever a program raises is its result
        output.flush()
        _fail(
            channel,
            "error",
            f"{type(error).__name__}: {message_of(error)}",
            failing_line(error.__traceback__),
        )


def _caller(channel: Channel, output: Output) -> Call:
    """The `_call` behind every tool function: one message out, one back."""

    def call(tool: str, args: dict[str, Any]) -> Any:
        try:
            values = arguments_to_json(tool, args)
        except ValueError as error:
            raise ToolError(str(error)) from None
        output.flush()
        channel.send({"t": "call", "tool": tool, "args": values, "line": calling_line()})
        reply = channel.receive()
        if "error" in reply:
            raise ToolError(reply["error"])
        return reply["result"]

    return call


class Output:
    """sys.stdout and sys.stderr of a program."""

    encoding = "utf-8"

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._text = ""

    def write(self, text: str) -> int:
        for start in range(0, len(text), _AT_ONCE):
            self._text += text[start : start + _AT_ONCE]
            if len(self._text) > 4096:
                self.flush()
        return len(text)

    def flush(self) -> None:
        if self._text:
            text, self._text = self._text, ""
            self._channel.send({"t": "print", "text": text.encode("utf-8", "replace").decode("utf-8")})

    def isatty(self) -> bool:
        return False


def _finish(channel: Channel, answer: Any) -> None:
    if answer is None:
        _fail(channel, "error", "the program ended without setting final_answer", None)
        return
    try:
        message = {"t": "done", "answer": answer_to_json(answer)}
    except ValueError as error:
        _fail(channel, "error", str(error), None)
    else:
        channel.send(message)


def _fail(channel: Channel, kind: str, error: str, line: int | None) -> None:
    text = error[:500].encode("utf-8", "replace").decode("utf-8")
    channel.send({"t": "fail", "kind": kind, "error": text, "line": line})
