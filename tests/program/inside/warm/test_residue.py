"""Nothing of a program stays in a warm worker: its memory is given back, its values are gone, what differs is found."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from valor_ray.config.service import SandboxConfig
from valor_ray.program import gate
from valor_ray.program.inside.placeholders import WORLDS, PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult

SIZE = (640, 480)
SMALL = SandboxConfig(workers=1, recycle_after=1000, memory_mib=128, wall_seconds=10)


def one_after_the_other(*codes: str, config: SandboxConfig = SMALL) -> list[ProgramResult]:
    async def main() -> list[ProgramResult]:
        async with Sandbox(config) as sandbox:
            return [await sandbox.run(code, PlaceholderTools(SIZE), SIZE) for code in codes]

    return asyncio.run(main())


KEPT = (
    "\ndef f():\n    return x\ny = [f]\ny.append(y)\nfinal_answer = 1"  # cycles, as every function makes one
)
FAT = [
    "x = np.ones(11_000_000)",
    "x = [np.ones(100_000) for _ in range(100)]",
    "x = [str(i) for i in range(900_000)]",
    "x = [np.ones(9) for _ in range(200_000)]",
    "x = {i: float(i) for i in range(500_000)}",
    "x = 'é' * 40_000_000",
    "x = np.ones(11_000_000)\ntry:\n    1 / 0\nexcept ZeroDivisionError as error:\n    e = [error]",
]


def test_no_program_is_ended_for_the_memory_of_one_before_it() -> None:
    codes = [code + KEPT for code in FAT for _ in range(3)]
    assert all(map(gate.passes, codes))
    results = one_after_the_other(*codes)
    assert {(str(result.status), result.error) for result in results} == {("ok", None)}
    assert [result.level.split()[0] for result in results].count("fast") > len(codes) / 2  # the rest was slow


def test_no_world_of_a_survey_is_ended_for_the_memory_of_one_before_it() -> None:
    async def main() -> list[ProgramResult]:
        async with Sandbox(SMALL) as sandbox:
            return await sandbox.survey(FAT[0] + KEPT, WORLDS, SIZE)

    results = asyncio.run(main())
    assert {(str(result.status), result.level.split()[0]) for result in results} == {("ok", "fast")}
    assert len(results) == len(WORLDS)


FILL = "x = [np.full(n, 7.5) for n in range(1, 300)] + [np.full(20_000, 7.5)]\nfinal_answer = 1"
UNFILLED = [  # the last ones only a fork may run
    "np.add(np.ones(n), 1, where=False)",
    "np.sqrt(np.ones(n), where=np.arange(n) < 0)",
    "np.divide(np.ones(n), 2, where=np.zeros(n, bool))",
    "np.maximum(np.ones(n), 2, where=False)",
    "np.logical_not(np.ones(n), where=False)",
    "np.clip(np.ones(n), 0, 1, where=False)",
    "np.empty(n)",
    "np.empty_like(np.ones(n))",
    "np.ndarray(n)",
    "np.empty(n, dtype='U3') != ''",
    "(lambda a: (a.resize(2 * n), a[n:])[1])(np.ones(n))",
]


def test_memory_that_nobody_filled_holds_zeros() -> None:
    codes = []
    for code in UNFILLED:
        codes += [FILL, f"final_answer = sum(float(np.sum({code})) for n in [*range(1, 300), 20_000])"]
    results = one_after_the_other(*codes)
    assert [(result.answer, result.error) for result in results[1::2]] == [(0.0, None)] * len(UNFILLED)
    assert sum(map(gate.passes, codes)) > 1.4 * len(UNFILLED)


def test_what_the_library_remembers_is_forgotten() -> None:
    probe = "import re\nfinal_answer = re.findall('xyz', '', 2.0)"
    compiled = "import re\nfinal_answer = len(re.findall('xyz', '', 2))"
    alone, _, after = one_after_the_other(probe, compiled, probe)
    assert alone.status == after.status == "error" and alone.error == after.error
    flags = "import re\nfor i in range(99):\n    k = re.IGNORECASE | (1 << 100_000 + i)\nfinal_answer = 1"
    types = "from typing import List\nx = [List['x' * i * 1000] for i in range(1, 99)]\nfinal_answer = 1"
    results = one_after_the_other(*[flags, types] * 12)
    assert {(str(result.status), result.error, result.level.split()[0]) for result in results} == {
        ("ok", None, "fast")
    }


CHANGES = {  # as if the gate had let them through
    "a module": "math.pi = 3",
    "sys.modules": "import warnings\nwarnings.sys.modules['spam'] = warnings",
    "the recursion limit": "import warnings\nwarnings.sys.setrecursionlimit(2000)",
    "numpy's error handling": "np.seterr(all='raise')",
    "numpy's printing": "np.set_printoptions(precision=2)",
    "random's state": "import random\nrandom.random()",
    "the decimal context": "import decimal\ndecimal.getcontext().prec = 3",
    "a hook": "import warnings\nwarnings.sys.excepthook = print",
    "the warning filters": "import warnings\nwarnings.simplefilter('error')",
    "what runs at exit": "import warnings\nwarnings.sys.modules['atexit'].register(print)",
    "objects stay": "import copy\ncopy._keep_alive.__defaults__ = ([str(i) for i in range(9999)],)",
    "the collector": "import warnings\nwarnings.sys.modules['gc'].disable()",
    "an interpreter flag": "import warnings\nwarnings.sys.set_int_max_str_digits(0)",
}


def test_a_worker_that_differs_is_replaced_and_its_program_run_in_a_fork(
    monkeypatch: pytest.MonkeyPatch, forked: Callable[[], list[int]]
) -> None:
    monkeypatch.setattr(gate, "passes", lambda _code: True)

    async def main() -> None:
        async with Sandbox(SMALL) as sandbox:
            for what, code in CHANGES.items():
                await sandbox.run("final_answer = 1", PlaceholderTools(SIZE), SIZE)
                before = forked()
                result = await sandbox.run(f"{code}\nfinal_answer = 1", PlaceholderTools(SIZE), SIZE)
                assert (result.answer, result.level.split()[0]) == (1, "fork"), (what, result.error)
                await sandbox.run("final_answer = 1", PlaceholderTools(SIZE), SIZE)
                assert len(before) == 1 and not set(before) & set(forked()), what

    asyncio.run(main())


def test_a_limit_that_a_finally_swallows_is_the_end_on_both_paths() -> None:
    swallow = [
        "for i in range(3):\n    try:\n        {limit}\n    finally:\n        continue\nfinal_answer = 1",
        "def f():\n    try:\n        {limit}\n    finally:\n        return 1\nfinal_answer = f()",
        "while True:\n    try:\n        {limit}\n    finally:\n        break\nfinal_answer = 1",
        "for i in range(5):\n    try:\n        {limit}\n    finally:\n        continue\nexit()",
        "try:\n    {limit}\nfinally:\n    final_answer = 1\n    return",
    ]
    limits = ["print('x' * 70_000)", "[depth(img_pth, [0, 0, 5, 5]) for _ in range(300)]"]
    codes = [code.format(limit=limit) for limit in limits for code in swallow]
    assert all(map(gate.passes, codes))
    fast = one_after_the_other(*codes)
    fork = one_after_the_other(*codes, config=SMALL.model_copy(update={"fast": False}))

    def told(results: list[ProgramResult]) -> list[Any]:
        return [(str(r.status), r.error, r.line, len(r.calls), r.output) for r in results]

    assert told(fast) == told(fork) and {str(result.status) for result in fast} == {"killed"}
    assert {result.level.split()[0] for result in fast} == {"fast"}
