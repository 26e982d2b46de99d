"""One run of a program in a warm worker: its limits, its tool calls answered on the spot, its result as it is sent."""

from __future__ import annotations

import copy
import sys
from types import CodeType
from typing import Any

from valor_ray.errors import ToolError as ToolRefusal
from valor_ray.program.inside.channel import ToolError, calling_line
from valor_ray.program.inside.execution import Ended, Output, checked_arguments, run_program
from valor_ray.program.inside.namespace import defined, warm_builtins
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.inside.scene_world import SceneTools, Stop
from valor_ray.tools import check_call
from valor_ray.untrusted.cut import cut_arguments

Tools = PlaceholderTools | SceneTools


class _Over(BaseException):
    """A limit was passed: leaves the program, or is noted where a `finally` of the program keeps it."""


class Run:
    """One run: `result` runs it, once.

    A limit, once passed, is the run's end, whatever the program makes of the exception: on the fork path the driver
    would have ended it there.
    """

    def __init__(self, request: dict[str, Any], size: tuple[int, int], tools: Tools) -> None:
        """request: of the driver, with its limits. size: width, height of the picture in pixels."""
        self._size = size
        self._tools = tools
        self._most_calls: int = request["calls"]
        self._trace: bool = request["trace"]
        self._calls: list[list[Any]] = []
        self._made = 0
        self._output = _Kept(self, request["output"])
        self._over: dict[str, Any] | None = None

    def result(self, program: CodeType, stubs: CodeType) -> dict[str, Any]:
        """How it ended, as it goes to the driver."""
        sys.stdout = sys.stderr = self._output
        names = defined(self._size, stubs, self._call, warm_builtins())
        result = as_sent(run_program(program, names))
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # or all of this run stays until the next
        if self._over is not None:
            result = self._over
        if isinstance(self._tools, SceneTools):
            stop = self._tools.stop
            return result if stop is None else sent(stop.kind, error=stop.text) | {"phrase": stop.phrase}
        if self._trace:
            return result | {"trace": self._calls, "output": self._output.text}
        return result | {"answer": None}

    def end(self, error: str, line: int | None = None) -> _Over:
        """Note that a limit was passed; what to raise."""
        self._over = self._over or sent("killed", error=error, line=line)
        return _Over(error)

    def _call(self, name: str, given: dict[str, Any]) -> Any:
        """Behind every tool function: checked as the driver would, answered on the spot."""
        args = checked_arguments(name, given)
        if self._over is not None:
            raise _Over
        line = calling_line() if self._trace or self._made >= self._most_calls else 0
        if self._made >= self._most_calls:
            raise self.end(f"the program made more than {self._most_calls} tool calls", line)
        self._made += 1
        tool = name
        try:
            tool, args = check_call(name, args, self._size)
            result = self._tools.answer(tool, args)
        except ToolRefusal as refusal:
            if self._trace:
                self._calls.append([tool, cut_arguments(args), None, line, str(refusal)])
            raise ToolError(str(refusal)) from None
        except Stop as stop:
            raise self.end(stop.text, line) from None
        if self._trace:  # a copy: the program may change what it was given
            self._calls.append([tool, args, copy.deepcopy(result), line, None])
        return result


class _Kept(Output):
    """Output of one run, up to a limit."""

    def __init__(self, run: Run, limit: int) -> None:
        """limit: bytes of UTF-8."""
        self._run = run
        self._parts: list[bytes] = []
        self._room = self._limit = limit

    @property
    def text(self) -> str:
        return b"".join(self._parts).decode("utf-8", "ignore")

    def take(self, text: str) -> None:
        data = text[: self._room + 1].encode("utf-8", "replace")
        self._parts.append(data[: self._room])
        if len(data) > self._room:
            self._room = 0
            raise self._run.end(f"the program printed more than {self._limit >> 10} KiB")
        self._room -= len(data)


def as_sent(ended: Ended) -> dict[str, Any]:
    return sent(ended.status, answer=ended.answer, error=ended.error, line=ended.line)


def sent(status: str, *, answer: Any = None, error: str = "", line: int | None = None) -> dict[str, Any]:
    return {"status": status, "answer": answer, "error": error, "line": line}
