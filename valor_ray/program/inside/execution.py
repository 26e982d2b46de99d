"""Run a program and say how it ended: the one piece of code behind both paths, so that their verdicts are the same.

This module is loaded in the sandbox only: standard library and numpy.
"""

from __future__ import annotations

import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import CodeType
from typing import Any, Literal, NamedTuple

from valor_ray.program.inside.channel import ToolError, failing_line, message_of
from valor_ray.program.inside.values import answer_to_json, arguments_to_json
from valor_ray.program.inside.wrap import RETURNED, compile_program

_RECURSION = 1000  # calls that a program may be deep in, whatever is below it
_LONGEST = 500  # characters of an error


class Ended(NamedTuple):
    """How a program ended."""

    status: Literal["ok", "error", "memory", "rejected"]
    answer: Any = None  # a JSON value; None unless ok
    error: str = ""
    line: int | None = None


class Output(ABC):
    """sys.stdout and sys.stderr of a program."""

    encoding = "utf-8"

    @abstractmethod
    def take(self, text: str) -> None:
        """Printed text, in order."""

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.take(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        return None

    def isatty(self) -> bool:
        return False


def compiled(code: str) -> CodeType | Ended:
    """The program, or why there is none."""
    _set_depth()
    try:
        return compile_program(code)
    except Exception as error:  # noqa: BLE001 the process boundary: whatever the compiler makes of a text is its result
        line = error.lineno if isinstance(error, SyntaxError) else None
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "too deeply nested"
        return _failed(f"the program does not parse: {reason}", line, "rejected")


def run_program(code: CodeType, names: dict[str, Any]) -> Ended:
    """Run it in `names`, which are emptied where memory was short."""
    _set_depth()
    try:
        try:
            exec(code, names)
        except SystemExit as leaving:
            if not (leaving.code is None or (isinstance(leaving.code, int) and leaving.code == 0)):
                why = f"the program gave up with exit({message_of(leaving)}): only exit() and exit(0) keep final_answer"
                return _failed(why, failing_line(leaving.__traceback__))
            if names.get("final_answer") is None:
                why = "the program called exit() before it set final_answer"
                return _failed(why, failing_line(leaving.__traceback__))
        return _answer(names)
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)
        names.clear()
        return Ended("memory")
    except BaseException as error:  # noqa: BLE001 the process boundary: whatever a program raises is its result
        return _failed(f"{type(error).__name__}: {message_of(error)}", failing_line(error.__traceback__))


def checked_arguments(tool: str, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a tool call as JSON values. Raises ToolError."""
    try:
        return arguments_to_json(tool, given)
    except ValueError as error:
        raise ToolError(str(error)) from None


def _answer(names: dict[str, Any]) -> Ended:
    answer = names.get("final_answer")
    if answer is None:
        returned = names.get(RETURNED)
        why = "the program ended without setting final_answer"
        return _failed(why if returned is None else f"{why}: `return` with a value does not set it")
    try:
        return Ended("ok", answer_to_json(answer))
    except ValueError as error:
        return _failed(str(error))


def _failed(error: str, line: int | None = None, status: Literal["error", "rejected"] = "error") -> Ended:
    text = error[:_LONGEST].encode("utf-8", "replace").decode("utf-8")
    return Ended(status, error=text, line=line)


_limit = 0


def _set_depth() -> None:
    """The same room for calls on both paths, which have different calls below the program."""
    global _limit
    depth, frame = 0, sys._getframe(1)
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    _limit = depth + _RECURSION
    sys.setrecursionlimit(_limit)


def depth_is_as_set() -> bool:
    """Whether the program has left the limit of calls alone."""
    return sys.getrecursionlimit() == _limit
