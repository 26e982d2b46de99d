"""The plain way to run a program: a process of its own, started from nothing, with the tools as local functions.

Light to import, since every such process imports it.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.inside.wrap import compile_program
from valor_ray.tools import check_call, stub_source


def run_in_process(code: str, size: tuple[int, int]) -> Any:
    """final_answer of a program that ran in a spawned process; its error text when it failed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(code, size, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return "the process ended"
    finally:
        process.join()
        process.close()


def _child(code: str, size: tuple[int, int], answer: Connection) -> None:
    import math

    import numpy as np

    tools = PlaceholderTools(size)

    def call(name: str, args: dict[str, Any]) -> Any:
        tool, checked = check_call(name, args, size)
        return tools.answer(tool, checked)

    names: dict[str, Any] = {"_call": call}
    exec(stub_source(), names)
    names |= {"np": np, "math": math}
    try:
        exec(compile_program(code), names)
        answer.send(names.get("final_answer"))
    except Exception as error:  # noqa: BLE001 the process boundary: whatever a program raises is its result
        answer.send(f"{type(error).__name__}: {error}")
