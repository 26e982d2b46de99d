"""Inside the sandbox: run one program and tell the driver how it ended.

Nothing here is a wall: a program can reach and change all of it. The walls are in `lockdown`, the checks in the driver.
This module is loaded in the sandbox only: standard library and numpy.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import CodeType
from typing import Any

from valor_ray.program.inside import protocol
from valor_ray.program.inside.channel import Channel, ToolError, calling_line
from valor_ray.program.inside.execution import Ended, Output, checked_arguments, compiled, run_program
from valor_ray.program.inside.namespace import Call, defined, forked_builtins
from valor_ray.program.walls.lockdown import SOCKET_FD

_AT_ONCE = 16384  # characters that are printed in one message
# made while there is memory
_NO_MEMORY = protocol.encode({"t": "fail", "kind": "memory", "error": "", "line": None})
_BUFFERED = 4096  # characters of output that wait for more


def run(request: dict[str, Any], stubs: CodeType, channel: Channel) -> None:
    """Run the program of the driver's first message, send how it ended."""
    output = Sent(channel)
    sys.stdout = sys.stderr = output
    program = compiled(request["code"])
    if isinstance(program, Ended):
        _tell(channel, program)
        return
    size = (request["size"][0], request["size"][1])
    names = defined(size, stubs, _caller(channel, output), forked_builtins())
    ended = run_program(program, names)
    with suppress(MemoryError):
        output.flush()
    _tell(channel, ended)


def _caller(channel: Channel, output: Output) -> Call:
    """The `_call` behind every tool function: one message out, one back."""

    def call(tool: str, args: dict[str, Any]) -> Any:
        values = checked_arguments(tool, args)
        output.flush()
        channel.send({"t": "call", "tool": tool, "args": values, "line": calling_line()})
        reply = channel.receive()
        if "error" in reply:
            raise ToolError(reply["error"])
        return reply["result"]

    return call


class Sent(Output):
    """Output that goes to the driver, a few KiB at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._text = ""

    def take(self, text: str) -> None:
        for start in range(0, len(text), _AT_ONCE):
            self._text += text[start : start + _AT_ONCE]
            if len(self._text) > _BUFFERED:
                self.flush()

    def flush(self) -> None:
        if self._text:
            text, self._text = self._text, ""
            self._channel.send({"t": "print", "text": text.encode("utf-8", "replace").decode("utf-8")})


def _tell(channel: Channel, ended: Ended) -> None:
    if ended.status == "memory":
        os.write(SOCKET_FD, _NO_MEMORY)
    elif ended.status == "ok":
        channel.send({"t": "done", "answer": ended.answer})
    else:
        channel.send({"t": "fail", "kind": ended.status, "error": ended.error, "line": ended.line})
