"""What a program finds defined and what it may import: the same tools and names on both paths.

A fork has all of Python's builtins, a warm worker only those of the gate, which could not tell what others might leave
behind. This module is loaded in the sandbox (and `BUILTINS` by the gate): standard library and numpy.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from types import CodeType
from typing import Any, NoReturn

import numpy as np

from valor_ray.program.inside.channel import ToolError
from valor_ray.program.inside.values import Image

Call = Callable[[str, dict[str, Any]], Any]  # the `_call` behind every tool function: its name and arguments

# fmt: off
IMPORTABLE = (
    "__future__", "abc", "bisect", "cmath", "collections", "copy", "dataclasses", "enum", "fractions", "functools",
    "heapq", "itertools", "json", "math", "numbers", "numpy", "operator", "random", "re", "statistics",
    "string", "time", "typing",
)
BUILTINS = (  # of a warm worker
    "abs", "all", "any", "bool", "dict", "divmod", "enumerate", "filter", "float", "frozenset", "int", "isinstance",
    "len", "list", "map", "max", "min", "next", "iter", "pow", "print", "range", "repr", "reversed", "round", "set",
    "sorted", "str", "sum", "tuple", "zip", "slice", "chr", "ord", "callable", "hash", "True", "False", "None",
    "ArithmeticError", "AssertionError", "AttributeError", "Exception", "IndexError", "KeyError", "LookupError",
    "NameError", "RuntimeError", "StopIteration", "TypeError", "ValueError", "ZeroDivisionError",
)
# fmt: on
_LOADED_LATE = ("numpy.fft", "numpy.ma", "numpy.polynomial")  # numpy imports these itself when first needed
PRELOADED = (*IMPORTABLE, *_LOADED_LATE)  # not numpy.random: it would double the cost of a fork


class NothingElse:
    """The last and only finder of modules: names what may be imported, also to numpy when it loads a part late."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> NoReturn:
        raise ModuleNotFoundError(
            f"{name!r} cannot be imported here; a program may import {', '.join(IMPORTABLE)}", name=name
        )


def forked_builtins() -> dict[str, Any]:
    """Of a process that runs one program: all of Python's, with an import that names what there is."""
    return {**vars(builtins), "__import__": _import, "exit": _exit, "quit": _exit}


def warm_builtins() -> dict[str, Any]:
    """Of a process that runs many: what the gate lets through."""
    # the real import: the gate has looked at the program's own, and numpy imports parts of itself this way
    return {**{name: getattr(builtins, name) for name in BUILTINS}, "__import__": __import__}


def defined(size: tuple[int, int], stubs: CodeType, call: Call, allowed: dict[str, Any]) -> dict[str, Any]:
    """The tools and `img_pth` (both from the stubs), numpy, math and `image` (size: width, height in pixels).

    allowed: what this program's `__builtins__` hold; it is the program's to change.
    """
    tools: dict[str, Any] = {"_call": call}
    exec(stubs, tools)
    return {
        **{name: tool for name, tool in tools.items() if not name.startswith("_")},
        "__name__": "__main__",
        "__builtins__": allowed,
        "np": np,
        "math": math,
        "image": Image(*size),
        "ToolError": ToolError,
    }


def _import(name: str, *args: Any) -> Any:
    if name.partition(".")[0] not in IMPORTABLE:
        NothingElse.find_spec(name)
    return builtins.__import__(name, *args)


def _exit(code: Any = None) -> NoReturn:
    raise SystemExit(code)
