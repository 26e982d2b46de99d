"""What a program finds defined and what it may import: the same tools and names on both paths.

A fork has all of Python's builtins, a warm worker only those of the gate, which could not tell what others might leave
behind. This module is loaded in the sandbox (and `BUILTINS` by the gate): standard library and numpy.
"""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any, NoReturn

import numpy as np

from valor_ray.program.inside.channel import ToolError
from valor_ray.program.inside.values import Image

Call = Callable[[str, dict[str, Any]], Any]  # the `_call` behind every tool function: its name and arguments

# fmt: off
IMPORTABLE = (
    "__future__", "abc", "ast", "bisect", "cmath", "collections", "colorsys", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "heapq", "itertools", "json", "math", "numbers", "numpy", "operator",
    "pprint", "random", "re", "statistics", "string", "sys", "textwrap", "time", "typing", "unicodedata", "warnings",
)
BUILTINS = (  # of a warm worker, beside EXITS
    "abs", "all", "any", "bool", "dict", "divmod", "enumerate", "filter", "float", "frozenset", "int", "isinstance",
    "len", "list", "map", "max", "min", "next", "iter", "pow", "print", "range", "repr", "reversed", "round", "set",
    "sorted", "str", "sum", "tuple", "zip", "slice", "chr", "ord", "callable", "hash", "True", "False", "None",
    "complex", "bin", "hex", "oct",
    "ArithmeticError", "AssertionError", "AttributeError", "Exception", "ImportError", "IndexError", "KeyError",
    "LookupError", "MemoryError", "NameError", "NotImplementedError", "OverflowError", "RecursionError",
    "RuntimeError", "StopIteration", "SystemExit", "TypeError", "ValueError", "ZeroDivisionError",
)
_OF_SYS = (  # what a program gets of it, beside exit, stdout and stderr: of the language, nothing of the host
    "byteorder", "exc_info", "float_info", "getrecursionlimit", "getsizeof", "int_info", "intern", "maxsize",
    "maxunicode", "setrecursionlimit", "version_info",
)
# fmt: on
# Imported when first needed: by numpy itself, and on behalf of a program by time and datetime.
_LOADED_LATE = ("numpy.fft", "numpy.ma", "numpy.polynomial", "_strptime")
PRELOADED = (*IMPORTABLE, *_LOADED_LATE)  # not numpy.random: it would double the cost of a fork
_ROOTS = frozenset((*IMPORTABLE, "_strptime"))


class _Sys(ModuleType):
    """What `import sys` gives: a way out, the output, and the numbers of this Python."""

    def __init__(self) -> None:
        super().__init__("sys")
        vars(self).update(
            {name: getattr(sys, name) for name in _OF_SYS}, exit=_exit, argv=[""], platform="linux"
        )

    @property
    def stdout(self) -> Any:
        return sys.stdout

    @property
    def stderr(self) -> Any:
        return sys.stderr


class NothingElse:
    """The last and only finder of modules: names what may be imported, also to numpy when it loads a part late."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> NoReturn:
        raise ModuleNotFoundError(
            f"{name!r} cannot be imported here; a program may import {', '.join(IMPORTABLE)}", name=name
        )


def forked_builtins() -> dict[str, Any]:
    """Of a process that runs one program: all of Python's, with an import that names what there is."""
    return {**vars(builtins), **EXITS, "__import__": _import}


def warm_builtins() -> dict[str, Any]:
    """Of a process that runs many: what the gate lets through."""
    return {**{name: getattr(builtins, name) for name in BUILTINS}, **EXITS, "__import__": _import}


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
    """`__import__` of a program, and of what is written in C while it runs."""
    if name == "sys":
        return SYS
    if name.partition(".")[0] not in _ROOTS:
        NothingElse.find_spec(name)
    return builtins.__import__(name, *args)


def _exit(code: Any = None) -> NoReturn:
    raise SystemExit(code)


EXITS = {"exit": _exit, "quit": _exit}
SYS = _Sys()
