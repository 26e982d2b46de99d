"""Ways to leave a program early, the same on both paths and in the syntax head."""

import asyncio

import pytest

from valor_ray.config.service import SandboxConfig
from valor_ray.program import gate
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.syntax import SyntaxOfPrograms
from valor_ray.records import ProgramResult

SIZE = (640, 480)
SET, UNSET = "final_answer = 1\n", "print(0)\n"
KEEP = [  # with the answer where there is one
    "exit()", "quit()", "exit(0)", "exit(None)", "exit(False)", "import sys\nsys.exit()", "import sys\nsys.exit(0)",
    "from sys import exit\nexit()", "raise SystemExit", "raise SystemExit()", "raise SystemExit(0)",
    "def f():\n    exit()\nf()", "try:\n    exit()\nexcept Exception:\n    final_answer = 2", "return",
    "try:\n    exit()\nfinally:\n    print(1)", "[exit() for i in range(2)]",
]  # fmt: skip
GIVE_UP = [
    "exit(1)",
    "exit('no chair')",
    "import sys\nsys.exit(3)",
    "raise SystemExit('bad')",
    "quit([0])",
    "exit('')",
]
HARMLESS = [
    "import sys, datetime", "from pprint import pprint\npprint([1])", "from typing import List, Dict, Optional",
    "import math, re, json, random, time, string, statistics, itertools, functools, collections, copy, decimal",
    "from dataclasses import dataclass\n@dataclass\nclass Box:\n    x: float\nBox(1)", "import unicodedata, textwrap",
    "from datetime import datetime\ndatetime.strptime('1', '%d')", "import warnings\nwarnings.simplefilter('ignore')",
    "import sys\nprint('x', file=sys.stderr)\nsys.stdout.write('y')", "from __future__ import annotations",
    "import ast\nast.literal_eval('[1]')", "import sys\nsys.setrecursionlimit(5000)", "from numpy import *",
    "from collections.abc import Iterable", "import random\nrandom.choice([1])", "count: int = 0", "Δ: float = 1.5",
]  # fmt: skip


def both(codes: list[str]) -> list[tuple[ProgramResult, ProgramResult]]:
    async def main() -> list[tuple[ProgramResult, ProgramResult]]:
        config = SandboxConfig(workers=1)
        async with Sandbox(config) as fast, Sandbox(config.model_copy(update={"fast": False})) as fork:
            tools = PlaceholderTools(SIZE)
            return [(await fast.run(c, tools, SIZE), await fork.run(c, tools, SIZE)) for c in codes]

    return asyncio.run(main())


def test_leaving_keeps_the_answer_and_without_one_says_so() -> None:
    for fast, fork in both([SET + code for code in KEEP]):
        assert (
            (fast.status, fast.answer, fast.error)
            == (fork.status, fork.answer, fork.error)
            == ("ok", 1, None)
        )
    for code, (fast, fork) in zip(KEEP, both([UNSET + code for code in KEEP]), strict=True):
        assert (fast.status, fast.error, fast.line) == (fork.status, fork.error, fork.line)
        if code != "return":
            assert fast.error == "the program called exit() before it set final_answer", code
            assert fast.line and fast.line > 1


def test_giving_up_is_an_error_answer_or_not() -> None:
    for fast, fork in both([start + code for start in (SET, UNSET) for code in GIVE_UP]):
        assert (fast.status, fast.error, fast.line) == (fork.status, fork.error, fork.line)
        assert str(fast.error).startswith("the program gave up with exit(") and fast.status == "error"


def test_most_ways_out_need_no_fork() -> None:
    assert sum(gate.passes(SET + code) for code in KEEP) == len(KEEP)


def test_harmless_things_are_ok_on_both_paths() -> None:
    for code, (fast, fork) in zip(
        HARMLESS, both([f"{code}\nfinal_answer = 1" for code in HARMLESS]), strict=True
    ):
        assert (fast.answer, fork.answer) == (1, 1), (code, fast.error, fork.error)


@pytest.mark.parametrize("fast", [True, False])
def test_the_syntax_head_punishes_nothing_harmless(fast: bool) -> None:
    async def main() -> list[tuple[str, bool | None, str]]:
        async with Sandbox(SandboxConfig(workers=1, fast=fast)) as sandbox:
            head = SyntaxOfPrograms(sandbox)
            verdicts = [(code, await head(code)) for code in (SET + code for code in [*KEEP, *HARMLESS])]
            no = await head(UNSET + "exit()")
            return [(code, v.value, v.reason) for code, v in [*verdicts, ("no", no)]]

    *harmless, (_, no, why) = asyncio.run(main())
    assert [row for row in harmless if row[1] is not True] == []
    assert no is False and "before it set final_answer" in why
