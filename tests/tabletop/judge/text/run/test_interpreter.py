# ruff: noqa: E501
"""The judge's interpreter: Python's answers on plain programs, and no harm from any other."""

import ast
import time

import numpy as np
import pytest

from valor_ray.tabletop.judge.text.run.interpreter import run
from valor_ray.tabletop.judge.text.run.limits import Unreadable

PROGRAMS = [
    "final_answer = sorted([3, 1, 2], key=lambda v: -v)[0]",
    "a, *b = (1, 2, 3)\nfinal_answer = [a, b, sum(x for x in b if x > 2)]",
    "def f(x, y=2, *rest, z=1):\n    return x * y + z + len(rest)\nfinal_answer = [f(1), f(1, 3, 4, z=5), f(*[2, 2])]",
    "n = 0\nwhile True:\n    n += 1\n    if n == 3:\n        continue\n    if n > 5:\n        break\nfinal_answer = n",
    "d = {}\nfor i, w in enumerate('ab'):\n    d.setdefault(w, []).append(i)\nfinal_answer = [(k, v) for k, v in d.items()]",
    "try:\n    final_answer = [][0]\nexcept (KeyError, IndexError) as e:\n    final_answer = 'none'\nfinally:\n    q = 1",
    "if (n := len('abc')) > 2:\n    final_answer = f'{n:.1f} {\"x\"!r}'",
    "def outer():\n    n = 0\n    def inner():\n        nonlocal n\n        n += 1\n        return n\n    inner()\n    return inner()\nfinal_answer = outer()",
    "final_answer = {k: v for k, v in zip('ab', map(abs, (-1, -2)))}",
    "x = [1]\ny = x\ny += [2]\nfinal_answer = [x, 1 < 2 < 3, not x, None or 'b', round(2.567, 2), 7 // 2, 7 % 4]",
    "final_answer = min(((2, 'b'), (1, 'c')), default=None)[1].upper() + 'a-b'.split('-')[-1]",
]
ARRAYS = [
    "xs = np.array([3.0, 1.0, 2.0])\nfinal_answer = [int((xs > 1.5).sum()), xs.size, int(xs.argmin()), xs[xs > 1.5].tolist()]",
    "b = np.array([[0, 2], [4, 8]])\nfinal_answer = [(b[:, 0] + b[:, 1]).tolist(), (b[1] / 2).tolist(), float(np.mean(b[0]))]",
    "d = np.array([5, 4]) * 2 - np.array([1, 1])\nfinal_answer = [d.max() == 9, int(np.argsort(d)[0]), np.diff(d).tolist()]",
]
HOSTILE = [
    "while True: pass",
    "x = 'a'\nfor _ in range(200): x += x\nfinal_answer = x",
    "x = []\nfor _ in range(60): x = [x, x]\nfinal_answer = str(x)",
    "x = []\nfor _ in range(60): x = [x, x]\nfinal_answer = x == [x]",
    "final_answer = 9 ** 9 ** 9",
    "final_answer = [0] * 10 ** 9",
    "final_answer = list(range(10 ** 12))",
    "f = lambda g: g(g)\nfinal_answer = f(f)",
    "final_answer = f'{1:999999999}'",
    "final_answer = ().__class__.__base__.__subclasses__()",
    "import os\nfinal_answer = os.getcwd()",
    "final_answer = open('/etc/passwd').read()",
    "final_answer = __import__('os')",
    "final_answer = eval('1')",
    "final_answer = 'x'.format.__globals__",
    "x = np.array(list(range(1999)))\nwhile True: x = x + 1",
    "final_answer = np.array([[0] * 1000] * 1000)",
    "class A: pass\nfinal_answer = 1",
    "final_answer = " + "(" * 90 + "1" + ")" * 90 + "+" + "-" * 4000 + "1",
    "final_answer = (lambda: [0 for a in range(999) for b in range(999) for c in range(999)])()",
]


@pytest.mark.parametrize("code", PROGRAMS)
def test_plain_programs_give_what_python_gives(code: str) -> None:
    names: dict[str, object] = {}
    exec(code, names)
    assert run(ast.parse(code), {})["final_answer"] == names["final_answer"]


@pytest.mark.parametrize("code", ARRAYS)
def test_arrays_are_compared_and_reckoned_with_as_a_whole(code: str) -> None:
    names: dict[str, object] = {"np": np}
    exec(code, names)
    assert run(ast.parse(code), {})["final_answer"] == names["final_answer"]


@pytest.mark.parametrize("code", HOSTILE, ids=lambda code: code[:24])
def test_hostile_programs_are_unreadable_and_cost_little(code: str) -> None:
    started = time.perf_counter()
    with pytest.raises((Unreadable, RecursionError, AttributeError)):
        run(ast.parse(code), {})
    assert time.perf_counter() - started < 20  # milliseconds; in full, for ever


def test_a_programs_own_mistake_is_its_error() -> None:
    for code, error in (("x = [][1]", IndexError), ("y = nothing", NameError), ("1 / 0", ZeroDivisionError)):
        with pytest.raises(error):
            run(ast.parse(code), {})
