"""Programs that pass the gate: made from a seed or by hypothesis, for whatever compares the two paths of the sandbox.

Each is a few statements over names that may or may not be bound, with every kind of ending: an answer, an exception, an
exit, a limit. Most run; where one fails, both paths must fail alike.
"""

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from hypothesis import strategies as st


class Choices(Protocol):
    """What a generator asks of its source of chance."""

    def choice(self, options: Sequence[str]) -> str: ...

    def randint(self, low: int, high: int) -> int: ...


NAMES = ["a", "b", "Δx", "数", "boxes", "final_answer", "count"]
PHRASES = ["cup", "red box", "the tall lamp, a chair", "", "a . b .", "é" * 9, "y" * 2100, "\\ud800"]
BOUND = """\
import re, sys, json
from collections import Counter
from copy import deepcopy
from typing import List
a, b, count, y = 3, [4, 1, 2], 0, "red"
Δx = np.array([0.5, 2.0])
数: dict = {"k": [1], 2: "b"}
boxes = [d["bbox"] for d in gd_detect(img_pth, "cup, plate")]"""
CONSTANTS = [
    "0", "1", "-3", "2.5", "1e308", "True", "None", "''", "'yes'", "'é数'", "[]", "[1, 2, 3]", "{'k': 1}", "{1, 2}",
    "(1, 'a')", "float('nan')", "10**400", "10**5000", "image.size", "img_pth", "'\\ud800'", "np.float32(0.1)",
    "np.arange(4)", "'\\N{DEGREE SIGN}'", "math.pi", "1j", "range(4)", "len", "np.zeros((2, 2))", "b''",
]  # fmt: skip
EXPRESSIONS = [
    "{e} + {e}", "{e} * {e}", "{e} / {e}", "{e} // {e}", "{e} % {e}", "-{e}", "not {e}", "{e} < {e}", "{e} == {e}",
    "{e} in {e}", "{e}[{e}]", "{e}[0]", "{e}[:2]", "len({e})", "str({e})", "repr({e})", "int({e})", "float({e})",
    "sorted({e})", "sum({e})", "max({e}, {e})", "min({e})", "list({e})", "set({e})", "tuple({e})", "dict({e})",
    "abs({e})", "round({e}, 1)", "[i for i in {e}]", "{{i: {e} for i in range(3)}}", "sum(i for i in {e})",
    "f'{{{e}}} {{{e}!r}}'", "{e}.lower()", "{e}.split(',')", "{e}.append({e})", "{e}.get({e})", "np.mean({e})",
    "np.max({e})", "np.array({e})", "np.add({e}, {e})", "np.add(np.ones(6), 1, where=False)", "math.sqrt({e})",
    "math.floor({e})", "(lambda v: v)({e})", "({e} if {e} else {e})", "({e} and {e})", "isinstance({e}, int)",
    "gd_detect(img_pth, '{p}')", "GD_DETECT(image, '{p}')", "depth(img_pth, {e})", "vqa(img_pth, None, '{p}')",
    "depth(img_pth, gd_detect(img_pth, 'cup')[0]['bbox'])", "VQA(image.crop((1, 2, 30, 40)), 'What colour is it?')",
    "vqa(img_pth, {e}, 'Is it red or blue?')", "re.findall('a', {e})", "re.findall('xyz', '', 2.0)", "hash('a')",
    "Counter({e}).most_common(1)", "hex({e})", "json.dumps({e})", "deepcopy({e})", "sys.maxsize", "List[int]",
    "np.resize({e}, 5)", "np.linalg.norm({e})", "re.IGNORECASE | {e}", "'%s' % {e}", "{e} ** 2", "(y := {e})",
]  # fmt: skip
SIMPLE = [
    "{n} = {e}", "{n}: int = {e}", "{n}: Unknown[str] = {e}", "{n}: list", "{n} += {e}", "{n}, b = {e}, {e}", "{e}",
    "final_answer = {e}", "final_answer = {n}", "print({e})", "print({e}, end='')", "assert {e}, {e}", "pass",
    "import sys, datetime, json, re", "from typing import List, Optional", "from math import sqrt, floor",
    "from pprint import pprint\npprint({e})", "import re\nfrom collections import Counter", "import os",
    "from copy import deepcopy", "raise ValueError({e})", "{n}[{e}] = {e}", "del {n}", "return", "return {e}",
    "sys.stdout.write({e})", "global {n}",
]  # fmt: skip
ENDINGS = [
    "exit()", "quit()", "exit({e})", "raise SystemExit", "raise SystemExit({e})", "import sys\nsys.exit(0)",
    "import sys\nsys.exit({e})", "raise RuntimeError", "return {e}",
]  # fmt: skip
LIMITS = [
    "print('x' * 3000)", "for i in range(40):\n    depth(img_pth, [0, 0, 5, 5])", "{n} = [0] * 10**9",
    "{n} = np.zeros(30_000_000)", "{n} = np.ones(4_000_000)", "{n} = [str(i) for i in range(100_000)]",
    "def f(k):\n    global count\n    count = k\n    return f(k + 1)\nf(0)", "{n} = 'x' * 300_000",
    "def f(k):\n    global count\n    count = k\n    f(k + 1)\n"
    "try:\n    f(0)\nexcept RecursionError:\n    final_answer = count",
    "{n} = []\nfor i in range(60):\n    {n} = [{n}]", "print('é' * 1100)", "k = re.IGNORECASE | 2**{i}",
]  # fmt: skip
BLOCKS = [
    "if {e}:\n{s}\nelse:\n{s}",
    "for {n} in {e}:\n{s}",
    "for i in range({i}):\n{s}\n    if i > 2:\n        break",
    "try:\n{s}\nfinally:\n{s}",
    "try:\n{s}\nexcept Exception as error:\n{s}",
    "for i in range(3):\n    try:\n{s2}\n    finally:\n        continue",
    "try:\n{s}\nexcept (ValueError, TypeError, ToolError) as error:\n    print(error)\nelse:\n{s}",
    "while {e}:\n{s}\n    break",
    "def g(v=1):\n    try:\n{s2}\n    finally:\n        return v\n{n} = g({e})",
    "def g(v: int) -> Unknown:\n{s}\ng({e})",
    "try:\n{s}\nexcept SystemExit as error:\n{s}",
    "try:\n{s}\nexcept MemoryError:\n{s}",
]


def program(chance: Choices) -> str:
    """One program."""
    parts = [BOUND] if chance.randint(0, 4) else []
    parts += [_statement(chance, 2) for _ in range(chance.randint(1, 4))]
    if chance.randint(0, 3):
        parts.insert(chance.randint(0, len(parts)), _filled("final_answer = {e}", chance, 1))
    if not chance.randint(0, 3):
        parts.append(_filled(chance.choice(ENDINGS), chance, 1))
    return "\n".join(parts) + "\n"


def seeded(seed: int) -> str:
    return program(random.Random(seed))  # type: ignore[arg-type]


@st.composite
def programs(draw: Callable) -> str:
    """The same, with choices that hypothesis can make smaller."""

    class Drawn:
        def choice(self, options: Sequence[str]) -> str:
            return draw(st.sampled_from(options))

        def randint(self, low: int, high: int) -> int:
            return draw(st.integers(low, high))

    return program(Drawn())


def _statement(chance: Choices, depth: int) -> str:
    kind = chance.randint(0, 29)
    if kind == 0:
        return _filled(chance.choice(LIMITS), chance, 1)
    if kind < 10 and depth:
        return _filled(chance.choice(BLOCKS), chance, depth)
    return _filled(chance.choice(SIMPLE), chance, 2)


def _expression(chance: Choices, depth: int) -> str:
    kind = chance.randint(0, 9)
    if kind < (6 if depth <= 0 else 3):
        return chance.choice(CONSTANTS)
    if depth <= 0 or kind < 6:
        return chance.choice(NAMES)
    return "(" + _filled(chance.choice(EXPRESSIONS), chance, depth) + ")"


def _filled(pattern: str, chance: Choices, depth: int) -> str:
    """The pattern with each mark filled by something of its own."""
    for mark, fill in (
        ("{s2}", lambda: _indented(_statement(chance, depth - 1), 8)),
        ("{s}", lambda: _indented(_statement(chance, depth - 1), 4)),
        ("{e}", lambda: _expression(chance, depth - 1)),
        ("{n}", lambda: chance.choice(NAMES)),
        ("{p}", lambda: chance.choice(PHRASES)),
        ("{i}", lambda: str(chance.randint(0, 40))),
    ):
        while mark in pattern:
            pattern = pattern.replace(mark, fill(), 1)
    return pattern.replace("{{", "{").replace("}}", "}")


def _indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in text.splitlines())
