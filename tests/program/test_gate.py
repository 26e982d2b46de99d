"""The gate: what gets past it can reach nothing that outlives a program; what ordinary programs need does get past."""

import collections
import importlib
from types import ModuleType

import numpy as np
import pytest

from valor_ray.program import gate
from valor_ray.program.inside.namespace import BUILTINS, EXITS, IMPORTABLE, SYS
from valor_ray.program.inside.values import Image
from valor_ray.program.parse import parse_reply
from valor_ray.tabletop.questions import FAMILIES
from valor_ray.tabletop.replies.write import gold
from valor_ray.tabletop.sample_questions import free_blueprint
from valor_ray.tools import stub_source

ESCAPES = [
    "().__class__.__base__.__subclasses__()",
    "final_answer = ''.__class__",
    "__builtins__['eval']('1')",
    "__import__('os')",
    "import os",
    "from os import system",
    "import numpy.ctypeslib",
    "from numpy import ctypeslib",
    "from math import *",
    "import math as __builtins__",
    "eval('1')",
    "exec('1')",
    "getattr(np, 'ctypeslib')",
    "setattr(np, 'mean', 1)",
    "vars(np)",
    "globals()['x']",
    "type('X', (), {})",
    "class X: pass",
    "np.mean = None",
    "np.pi += 1",
    "math.__dict__['pi'] = 3",
    "del np.mean",
    "for np.mean in [1]: pass",
    "[0 for math.pi in [3]]",
    "with open('x') as np.mean: pass",
    "'{0.__class__}'.format(1)",
    "'{0.__class__}'.format_map({})",
    "f'{(1).__class__}'",
    "np.random.seed(0)",
    "np.seterr(all='raise')",
    "np.set_printoptions(precision=1)",
    "np.errstate(all='raise')",
    "np.load('x')",
    "np.fromfile('x')",
    "np.memmap('x')",
    "np.frombuffer(b'x')",
    "np.lib",
    "np.core.multiarray",
    "np.vectorize(print)",
    "np.array([1]).data",
    "np.array([1]).ctypes",
    "np.array([1]).base",
    "np.array([1]).setflags(write=True)",
    "np.array([1]).tofile('x')",
    "re.compile('x').pattern",
    "re.purge()",
    "functools.lru_cache(None)(len)",
    "functools.partial(len).func",
    "statistics.sys",
    "collections.sys",
    "collections.abc",
    "itertools.count().__reduce__",
    "def __init__(): pass",
    "def f(__x): pass",
    "__ = 1",
    "x = __name__",
    "np._",
    "def f():\n    yield 1",
    "(i for i in [1]).gi_frame",
    "async def f(): pass",
    "@print\ndef f(): pass",
    "try:\n    pass\nexcept:\n    pass",
    "try:\n    pass\nexcept BaseException:\n    pass",
    "try:\n    1 / 0\nexcept Exception as error:\n    error.__traceback__.tb_frame",
    "try:\n    1 / 0\nexcept Exception as error:\n    error.tb_frame",
    "global __builtins__",
    "nonlocal x",
    "match 1:\n    case int(real=x): pass",
    "print(1, file=np)\nglobals",
    "breakpoint()",
    "input()",
    "open('/etc/passwd')",
    "memoryview(b'x')",
    "compile('1', '', 'eval')",
    "object()",
    "super()",
    "property(len)",
    "help()",
    "x" * 20000,
    "x = [" + "1," * 6000 + "]",
    "(" * 500 + ")" * 500,
    "final_answer = 1\0",
    "import sys; sys.setrecursionlimit(10)",
    "dict(__class__=1)",
    "from sys import modules",
    "import sys; sys._getframe()",
    "import sys; sys.exc_info()",
    "from warnings import simplefilter",
    "import random; random.seed(1)",
    "from dataclasses import dataclass",
    "from operator import attrgetter",
    "from operator import methodcaller",
    "import copy; copy.dispatch_table",
    "import decimal; decimal.getcontext().prec",
    "import json; json.JSONEncoder.default",
    "\uff3f\uff3fbuiltins\uff3f\uff3f",  # fullwidth low lines, which Python reads as ordinary ones
    "np.\uff3fglobals",
    "np.empty(3)",
]


@pytest.mark.parametrize("code", ESCAPES, ids=lambda code: code[:40])
def test_ways_out_take_the_fork_path(code: str) -> None:
    assert not gate.passes(code)


def test_what_is_in_every_list_is_there() -> None:
    assert "eval" not in BUILTINS and "getattr" not in BUILTINS and "type" not in BUILTINS
    assert not [name for name in gate.ATTRIBUTES if name.startswith("_") or name in ("format", "format_map")]


def test_nothing_mutable_is_reached_from_what_programs_share() -> None:
    """Walk from all that warm programs share, over every allowed attribute: no container to leave things in."""
    tools: dict = {"_call": None}
    exec(stub_source(), tools)
    shared = [importlib.import_module(name) for name in gate.MODULES if name != "sys"]
    shared += [SYS, Image, *EXITS.values(), *tools.values()]
    seen: dict[int, object] = {}
    waiting = [thing for thing in shared if not isinstance(thing, dict)]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        assert not isinstance(thing, dict | list | set | bytearray | np.ndarray | collections.deque), thing
        if isinstance(thing, ModuleType):
            assert thing.__name__.partition(".")[0] in gate.MODULES
        for name in gate.ATTRIBUTES - {"stdout", "stderr"}:  # which are a run's own
            waiting += [getattr(thing, name)] if hasattr(thing, name) else []
    assert len(seen) > 200


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_programs_of_every_family_pass(family: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        code = parse_reply(gold(free_blueprint(rng, family))).code
        assert code and gate.passes(code), code


@pytest.mark.parametrize(
    "code",
    [
        "final_answer = max(len(gd_detect(img_pth, 'cup')), 1)",
        "from math import sqrt\nimport numpy as np\nfinal_answer = sqrt(float(np.mean([1, 4])))",
        "def area(box):\n    return (box[2] - box[0]) * (box[3] - box[1])\nfinal_answer = area([0, 0, 2, 2])",
        "try:\n    x = int('a')\nexcept ValueError as error:\n    x = 0\nfinal_answer = f'{x:.2f} {[1]!r}'",
        "final_answer = sorted({'a': 2}.items(), key=lambda item: -item[1])[0]",
        "from typing import List, Optional\nboxes: List[dict] = []\nfinal_answer: Optional[int] = len(boxes)",
        "import sys, datetime, json\nfrom pprint import pprint\nfinal_answer = json.loads('1')\nsys.exit(0)",
        "Δx = 数 = 3\nfinal_answer = Δx\nexit()",
        "final_answer = [0 for _ in range(3)]\nkey = lambda _: 1",
        "try:\n    exit()\nexcept SystemExit:\n    final_answer = 1\nraise SystemExit",
        "while True:\n    break\nelse:\n    pass\nfinal_answer = (y := 3)",
    ],
)
def test_ordinary_programs_pass(code: str) -> None:
    assert gate.passes(code)


def test_modules_of_the_gate_can_be_imported() -> None:
    assert set(gate.MODULES) <= set(IMPORTABLE)
