"""Runs a rival's program in the sandbox: our API first, in one line, then the program as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from valor_ray.answer import ProgramRunner
from valor_ray.records import ProgramResult, ProgramStatus
from valor_ray.tools import ToolHost

_API_LINES = 1  # before the program


@cache
def api(name: str) -> str:
    """The source of sandboxed/NAME.py."""
    return files(__package__).joinpath("sandboxed", f"{name}.py").read_text(encoding="utf-8")


async def run_over(
    source: str,
    program: str,
    sandbox: ProgramRunner,
    tools: ToolHost,
    size: tuple[int, int],
    ending: str = "",
) -> ProgramResult:
    """Run `program` where the API's `source` is defined, and then `ending`, which makes its result the final_answer.

    size: of the picture, width and height in pixels. Lines of errors and calls are the program's own. A program that
    fails is a result. Raises ProgramError when the sandbox does not work.
    """
    load = f"exec(compile({source!r}, '<api>', 'exec'), globals())"
    result = await sandbox.run(f"{load}\n{program}\n{ending}\n", tools, size)
    longest = max(program.count("\n") + 1, 1)
    return replace(
        result,
        line=None if result.line is None else _own(result.line, longest),
        calls=tuple(replace(call, line=_own(call.line, longest)) for call in result.calls),
    )


def _own(line: int, longest: int) -> int:
    """A line of what was run, as a line of the program; the ending's is its last."""
    return min(max(line - _API_LINES, 1), longest)


def why(result: ProgramResult) -> str | None:
    """What went wrong in a program, for its writer and for the row; None: nothing."""
    if result.status is ProgramStatus.OK:
        return None
    where = "" if result.line is None else f" in line {result.line}"
    return f"The program ended with status {result.status.value}{where}: {result.error}"


def reply_of(result: ProgramResult, program: str, plan: str = "") -> Mapping[str, Any]:
    """A program's result as the runner takes it. yes and no stand for bools, as the papers mark them."""
    answer = result.answer
    if isinstance(answer, bool):
        answer = "yes" if answer else "no"
    return {
        "answer": answer,
        "plan": plan,
        "code": program,
        "error": why(result),
        "status": result.status.value,
        "trace": [{"tool": call.tool, "line": call.line, "error": call.error} for call in result.calls],
    }
