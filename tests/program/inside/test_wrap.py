"""A program is compiled as a module would be, with `return` allowed and annotations read by nobody."""

import math
import sys
from typing import Any

import pytest

from valor_ray.program.inside.wrap import RETURNED, compile_program


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile_program(code), names)
    return names


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("final_answer: str = 'yes'", "yes"),
        ("count: int = 0\nfinal_answer = count", 0),
        ("boxes: List[dict] = []\nfinal_answer = boxes", []),  # nobody imports List
        ("boxes: list\nfinal_answer = 1", 1),
        ("(final_answer): int = 2", 2),
        ("for i in range(3):\n    x: int = i\nfinal_answer = x", 2),
        ("try:\n    1 / 0\nexcept Exception as e:\n    m: str = 'no'\nfinally:\n    final_answer: str = m", "no"),
        ("if True:\n    final_answer: int = 3\n    return", 3),
        ("match 3:\n    case int():\n        final_answer: int = 4", 4),
        ("while True:\n    n: int = 1\n    break\nfinal_answer = n", 1),
        ("def f(a: Foo) -> Bar:\n    b: Baz = a\n    return b\nfinal_answer = f(3)", 3),
        ("class A:\n    x: Foo = 3\nfinal_answer = A.x", 3),
        ("b = {}\nb['k']: float = 3\nfinal_answer = b", {"k": 3}),
        ("Δx = 3\nfinal_answer = Δx", 3),
        ("数 = 3\nfinal_answer = 数 + 1", 4),
        ("ﬁ = 3\nfinal_answer = fi", 3),  # Python reads the ligature as two letters
        ("final_answer = '\\N{DEGREE SIGN}'", "°"),
        ("\ufefffinal_answer = 1", 1),
        ("final_answer = 1\r\nfinal_answer += 1\r\n", 2),
        ("if True:\n    from math import *\nfinal_answer = floor(2.5)", 2),
        ("from __future__ import annotations\nfinal_answer: X = 1", 1),
        ("final_answer = " + "+".join("1" * 900), 900),
    ],
)  # fmt: skip
def test_what_people_write_runs(code: str, answer: object) -> None:
    assert math and run(code)["final_answer"] == answer


def test_what_return_gave_is_kept_apart_from_the_answer() -> None:
    assert run("return 5")[RETURNED] == 5 and "final_answer" not in run("return 5")


@pytest.mark.parametrize(
    "code", ["yield 1", "x = [await y]", "nonlocal x", "def f(:", "a\0b", "final_answer = (1"]
)
def test_what_no_module_may_say_is_refused(code: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        compile_program(code)


def test_the_calling_module_lends_no_flags() -> None:
    assert run("def f(x: int): pass\nfinal_answer = f.__annotations__")["final_answer"] == {"x": "int"}
    assert sys.getrecursionlimit() >= 1000
