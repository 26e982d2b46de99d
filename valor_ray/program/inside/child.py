"""Inside the sandbox: run one program and tell the driver how it ended.

Nothing here is a wall: a program can reach and change all of it. The walls are in `lockdown`, the checks in the driver.
This module is loaded in the sandbox only: standard library and numpy.
"""

from __future__ import annotations

import builtins
import math
import os
import sys
import traceback
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any, NoReturn

import numpy as np

from valor_ray.program.inside import protocol
from valor_ray.program.inside.values import Image, to_json
from valor_ray.program.inside.wrap import FILENAME, compile_program
from valor_ray.program.walls.lockdown import SOCKET_FD

# fmt: off
IMPORTABLE = (
    "__future__", "abc", "bisect", "cmath", "collections", "copy", "dataclasses", "enum", "fractions", "functools",
    "heapq", "itertools", "json", "math", "numbers", "numpy", "operator", "random", "re", "statistics",
    "string", "time", "typing",
)
# fmt: on
_LOADED_LATE = ("numpy.fft", "numpy.ma", "numpy.polynomial")  # numpy imports these itself when first needed
PRELOADED = (*IMPORTABLE, *_LOADED_LATE)  # not numpy.random: it would double the cost of a fork
_NO_MEMORY = protocol.encode(
    {"t": "fail", "kind": "memory", "error": "", "line": None}
)  # made while there is memory


class ToolError(Exception):
    """What a program sees when a tool refuses its arguments."""


class Channel:
    """The socket to the driver."""

    def send(self, message: dict[str, Any]) -> None:
        data = memoryview(protocol.encode(message))
        while data:
            data = data[os.write(SOCKET_FD, data) :]

    def receive(self) -> Any:
        return protocol.decode(self._exactly(protocol.length(self._exactly(protocol.HEADER))))

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = os.read(SOCKET_FD, size)
            if not part:
                os._exit(1)  # the driver is gone
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class Output:
    """sys.stdout and sys.stderr of a program."""

    encoding = "utf-8"

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._text = ""

    def write(self, text: str) -> int:
        for start in range(0, len(text), 65536):
            self._text += text[start : start + 65536]
            if len(self._text) > 4096:
                self.flush()
        return len(text)

    def flush(self) -> None:
        if self._text:
            text, self._text = self._text, ""
            self._channel.send({"t": "print", "text": text.encode("utf-8", "replace").decode("utf-8")})

    def isatty(self) -> bool:
        return False


def failing_line(trace: TracebackType | None) -> int | None:
    """The innermost line of the program in a traceback."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILENAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def calling_line() -> int:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename != FILENAME:
        frame = frame.f_back
    return frame.f_lineno


def make_call(channel: Channel, output: Output) -> Callable[[str, dict[str, Any]], Any]:
    """The `_call` behind every tool function: one message out, one back."""

    def call(tool: str, args: dict[str, Any]) -> Any:
        try:
            values = {name: to_json(value, f"{tool}: {name}") for name, value in args.items()}
        except ValueError as error:
            raise ToolError(str(error)) from None
        message = {"t": "call", "tool": tool, "args": values, "line": calling_line()}
        if len(protocol.encode(message)) > protocol.MAX_MESSAGE:
            raise ToolError(f"{tool}: the arguments are longer than {protocol.MAX_MESSAGE >> 10} KiB")
        output.flush()
        channel.send(message)
        reply = channel.receive()
        if "error" in reply:
            raise ToolError(reply["error"])
        return reply["result"]

    return call


class NothingElse:
    """The last and only finder of modules: names what may be imported, also to numpy when it loads a part late."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> NoReturn:
        raise ModuleNotFoundError(
            f"{name!r} cannot be imported here; a program may import {', '.join(IMPORTABLE)}", name=name
        )


def _import(name: str, *args: Any) -> Any:
    if name.partition(".")[0] not in IMPORTABLE:
        NothingElse.find_spec(name)
    return builtins.__import__(name, *args)


def _exit(code: Any = None) -> NoReturn:
    raise SystemExit(code)


def namespace(size: list[int], stubs: CodeType, channel: Channel, output: Output) -> dict[str, Any]:
    """What a program finds defined: the tools and `img_pth` (both from the stubs), numpy, math and `image`."""
    tools: dict[str, Any] = {"_call": make_call(channel, output)}
    exec(stubs, tools)
    return {
        **{name: tool for name, tool in tools.items() if not name.startswith("_")},
        "__name__": "__main__",
        "__builtins__": {**vars(builtins), "__import__": _import, "exit": _exit, "quit": _exit},
        "np": np,
        "math": math,
        "image": Image(size[0], size[1]),
        "ToolError": ToolError,
    }


def run(stubs: CodeType) -> None:
    """Receive a program, run it, send how it ended."""
    channel = Channel()
    output = Output(channel)
    sys.stdout = sys.stderr = output
    request = channel.receive()
    if "warm" in request:
        from valor_ray.program.inside import warm  # preloaded by the zygote; it imports this module

        warm.serve(stubs, channel)
        return
    try:
        compiled = compile_program(request["code"])
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "too deeply nested"
        _fail(channel, "rejected", f"the program does not parse: {reason}", line)
        return
    names = namespace(request["size"], stubs, channel, output)
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


def _finish(channel: Channel, answer: Any) -> None:
    if answer is None:
        _fail(channel, "error", "the program ended without setting final_answer", None)
        return
    try:
        message = {"t": "done", "answer": to_json(answer, "final_answer")}
        size = len(protocol.encode(message))
    except ValueError as error:
        _fail(channel, "error", str(error), None)
        return
    except RecursionError:
        _fail(channel, "error", "final_answer is nested too deeply", None)
        return
    if size > protocol.MAX_ANSWER:
        _fail(channel, "error", f"final_answer is longer than {protocol.MAX_ANSWER >> 10} KiB", None)
    else:
        channel.send(message)


def _fail(channel: Channel, kind: str, error: str, line: int | None) -> None:
    text = error[:500].encode("utf-8", "replace").decode("utf-8")
    channel.send({"t": "fail", "kind": kind, "error": text, "line": line})


def message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 the process boundary: the program's own __str__
        return "(its message cannot be shown)"
