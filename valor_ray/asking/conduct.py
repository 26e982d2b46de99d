"""What kept a reply from an answer, and habits that the paper reports of writers. Rule-based; no truth is met."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from valor_ray.answer import MALFORMED, REFUSED, status_of
from valor_ray.program.syntax_tree import syntax_tree
from valor_ray.records import ProgramStatus


class Failure(StrEnum):
    """Why a reply gave no answer."""

    FORMAT = "format"  # not one plan block and one answer block
    TOOL = "tool"  # its program ended on a tool call that failed, as one with a box outside the picture
    PROGRAM = "program"  # its program failed by itself: raised, ran out of time, did not parse


class Habit(StrEnum):
    REFUSES = (
        "refuses"  # declares the question impossible, in a reply without program or as the program's answer
    )
    NO_TOOL = "no_tool"  # the answer is a value that no tool was asked about
    OVERWRITES = "overwrites_img"  # binds img_pth anew


_REFUSAL = re.compile(
    r"\s*(i('m| am) (sorry|unable|not able)|sorry\b|(i )?(can ?not|can't|could not|couldn't)\b|unable to\b"
    r"|impossible\b|not possible\b|unknown\b|undetermined\b|indeterminate\b|n/a\b|not (visible|enough|determinable)\b"
    r"|insufficient\b|no (picture|image)\b|as an ai\b)",
    re.IGNORECASE,
)


def failure_of(shown: Mapping[str, Any]) -> Failure | None:
    """Of an answer or candidate in its public shape; None: there is an answer. Without a trace no tool is blamed."""
    status = status_of(shown)
    if status == ProgramStatus.OK:
        return None
    if status in (MALFORMED, REFUSED):
        return Failure.FORMAT
    trace = list(shown.get("trace") or [])
    failed = status == ProgramStatus.ERROR and bool(trace) and trace[-1]["error"] is not None
    return Failure.TOOL if failed else Failure.PROGRAM


def habits_of(shown: Mapping[str, Any]) -> tuple[Habit, ...]:
    """Of the same, as far as it tells: `reply` (the policy's text) and `trace` may be missing."""
    failure, said, code = failure_of(shown), shown.get("answer"), str(shown.get("code") or "")
    spoken = shown.get("reply") if failure is Failure.FORMAT else said if failure is None else None
    found = {
        Habit.REFUSES: status_of(shown) == REFUSED
        or (isinstance(spoken, str) and _REFUSAL.match(spoken) is not None),
        Habit.NO_TOOL: failure is None and "trace" in shown and not shown["trace"],
        Habit.OVERWRITES: "img_pth" in code and _binds(code, "img_pth"),
    }
    return tuple(habit for habit, there in found.items() if there)


def _binds(code: str, name: str) -> bool:
    """Whether a program gives a name a value of its own; False of what does not parse."""
    try:
        tree = syntax_tree(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
        for node in ast.walk(tree)
    )
