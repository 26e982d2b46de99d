"""The fast path: same results as a fork, nothing left behind, and a way back when a worker is lost."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from valor_ray.config.service import SandboxConfig
from valor_ray.errors import ProgramError
from valor_ray.program import gate
from valor_ray.program.inside.placeholders import WORLDS, PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult

SIZE = (640, 480)
ONE_WORKER = SandboxConfig(workers=1, recycle_after=1000)


def in_sandbox(use: Callable[[Sandbox], Awaitable[Any]], config: SandboxConfig = ONE_WORKER) -> Any:
    async def main() -> Any:
        async with Sandbox(config) as sandbox:
            return await use(sandbox)

    return asyncio.run(main())


async def placeholder(sandbox: Sandbox, code: str) -> ProgramResult:
    return await sandbox.run(code, PlaceholderTools(SIZE), SIZE)


def kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


PROGRAMS = [
    "final_answer = [d['label'] for d in gd_detect(img_pth, 'cup, plate')]",
    "print('a', 2)\nfinal_answer = depth(img_pth, gd_detect(img_pth, 'cup')[0]['bbox'])",
    "final_answer = vqa(img_pth, 'What colour is it?', [1, 2, 30, 40])",
    "x = gd_detect(img_pth, 'cup')\nx[0]['bbox'][0] = -5\nfinal_answer = x",
    "final_answer = 1 / 0",
    "y = 1\nfinal_answer = undefined_name",
    "assert False, 'no'",
    "final_answer = float('nan')",
    "final_answer = {1: 2}",
    "x = 3",
    "depth(img_pth, bbox='left')",
    "try:\n    depth(img_pth, [0, 0, 0, 0])\nexcept Exception as error:\n    final_answer = str(error)",
    "for i in range(300):\n    gd_detect(img_pth, 'cup')\nfinal_answer = 1",
    "for i in range(100000):\n    print('x' * 100)",
    "x = [0] * (10 ** 9)\nfinal_answer = 1",
    "def f(n):\n    return f(n + 1)\nfinal_answer = f(0)",
    "final_answer = (1,\n",
    "raise ValueError('é\\ud800' * 400)",
    "import numpy as np\nfinal_answer = np.mean([])",
    "final_answer = np.array([1, 2]).mean() if image.size == (640, 480) else None",
    "if not gd_detect(img_pth, 'dog'):\n    final_answer = 0\n    return\nfinal_answer = 1",
    "final_answer = sorted({'b', 'a', 'c', 'd'}) and list({'b', 'a', 'c', 'd'})",
]


def told(result: ProgramResult) -> dict[str, Any]:
    calls = tuple(replace(call, ms=0.0) for call in result.calls)
    return vars(replace(result, seconds=0.0, level="", calls=calls))


@pytest.mark.parametrize("code", PROGRAMS, ids=lambda code: code[:30])
def test_a_warm_worker_gives_the_result_of_a_fork(code: str) -> None:
    config = SandboxConfig(wall_seconds=10, cpu_seconds=5, memory_mib=256, max_calls=200)
    fast = in_sandbox(lambda s: placeholder(s, code), config)
    fork = in_sandbox(lambda s: placeholder(s, code), config.model_copy(update={"fast": False}))
    assert (fast.level.split()[0] == "fast") == gate.passes(code) and fork.level.startswith("fork")
    assert told(fast) == told(fork)


LEAKS = [  # (a program that leaves something, a program that would find it)
    ("a_name = 1\nfinal_answer = 1", "a_name"),
    ("np.pi = 3\nfinal_answer = 1", "float(np.pi) != math.pi"),
    ("math.pi = 3\nfinal_answer = 1", "math.pi"),
    ("len = None\nfinal_answer = 1", "len([1, 2])"),
    ("np = None\nfinal_answer = 1", "float(np.mean([1, 3]))"),
    ("def gd_detect(*a):\n    return 'mine'\nfinal_answer = 1", "gd_detect(img_pth, 'cup')"),
    ("img_pth = 'elsewhere'\nfinal_answer = 1", "img_pth"),
    ("def sorted(x):\n    return 'mine'\nfinal_answer = 1", "sorted([2, 1])"),
    ("import builtins\nbuiltins.len = None\nfinal_answer = 1", "len([1, 2])"),
    ("import sys\nsys.setrecursionlimit(50)\nfinal_answer = 1", "max(range(100))"),
    ("np.random.seed(1)\nfinal_answer = 1", "float(np.random.rand()) > 2"),
    ("np.seterr(all='raise')\nfinal_answer = 1", "float(np.divide(1.0, np.array([0.0]))[0]) > 5"),
    ("np.set_printoptions(precision=1)\nfinal_answer = 1", "str(np.array([1.23456]))"),
    ("gd_detect.mark = 1\nfinal_answer = 1", "hasattr(gd_detect, 'mark')"),
    ("image.mark = 1\nfinal_answer = 1", "hasattr(image, 'mark')"),
    ("ToolError.mark = 1\nfinal_answer = 1", "hasattr(ToolError, 'mark')"),
    ("gd_detect(img_pth, 'cup')[0]['bbox'].clear()\nfinal_answer = 1", "gd_detect(img_pth, 'cup')[0]['bbox']"),
    ("final_answer = 'old'", "final_answer"),
    ("import re\nre.DOTALL = 0\nfinal_answer = 1", "import re\nfinal_answer = len(re.findall('a.', 'a1a2'))"),
    (
        "from collections import Counter\nCounter.update = None\nfinal_answer = 1",
        "from collections import Counter\nfinal_answer = dict(Counter('aa'))",
    ),
    (
        "import statistics\nstatistics.mean = None\nfinal_answer = 1",
        "import statistics\nfinal_answer = statistics.mean([1, 3])",
    ),
    ("print('left', end='')\nfinal_answer = 1", "1"),
    ("def bad(n):\n    return bad(n + 1)\nbad(0)", "1"),
    ("x = 1 / 0", "1"),
    ("while True:\n    gd_detect(img_pth, 'cup')", "len(gd_detect(img_pth, 'cup'))"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), LEAKS, ids=lambda text: text[:30])
def test_nothing_of_one_program_reaches_the_next(first: str, second: str) -> None:
    async def use(sandbox: Sandbox) -> tuple[ProgramResult, ProgramResult]:
        probe = second if "\n" in second else f"final_answer = {second}"
        alone = await placeholder(sandbox, probe)
        await placeholder(sandbox, first)
        return alone, await placeholder(sandbox, probe)

    alone, after = in_sandbox(use)
    assert told(alone) == told(after)


def test_a_worker_is_replaced_after_so_many_programs(forked: Callable[[], list[int]]) -> None:
    async def use(sandbox: Sandbox) -> list[list[int]]:
        seen = []
        for _ in range(9):
            await placeholder(sandbox, "final_answer = 1")
            seen.append(forked())
        return seen

    seen = in_sandbox(use, SandboxConfig(workers=1, recycle_after=4))
    assert all(len(pids) <= 1 for pids in seen)
    assert len({pid for pids in seen for pid in pids}) == 3


def test_a_killed_worker_costs_nothing_but_time(forked: Callable[[], list[int]]) -> None:
    async def use(sandbox: Sandbox) -> list[ProgramResult]:
        results = []
        for _ in range(3):
            results.append(await placeholder(sandbox, "final_answer = 7"))
            kill(forked())
        return results

    results = in_sandbox(use)
    assert [result.answer for result in results] == [7, 7, 7]
    assert [result.level.split()[0] for result in results] == ["fast", "fork", "fast"]


def test_workers_die_in_the_middle_of_many_programs(forked: Callable[[], list[int]]) -> None:
    async def use(sandbox: Sandbox) -> list[list[ProgramResult]]:
        code = "final_answer = sum(range(2000)) + len(gd_detect(img_pth, 'cup'))"
        tasks = [asyncio.create_task(sandbox.survey(code, WORLDS, SIZE)) for _ in range(200)]
        await asyncio.sleep(0.03)
        kill(forked())
        return await asyncio.gather(*tasks)

    surveys = in_sandbox(use, SandboxConfig(workers=2))
    assert len(surveys) == 200 and {len(survey) for survey in surveys} == {len(WORLDS)}
    assert {str(result.status) for survey in surveys for result in survey} == {"ok"}


def test_a_slow_program_moves_to_a_fork_and_keeps_nobody_waiting() -> None:
    async def use(sandbox: Sandbox) -> tuple[list[ProgramResult], float]:
        slow = [asyncio.create_task(placeholder(sandbox, "while True:\n    pass")) for _ in range(3)]
        await asyncio.sleep(0.1)
        quick = await placeholder(sandbox, "final_answer = 1")
        return [quick, *await asyncio.gather(*slow)]

    quick, *slow = in_sandbox(use, SandboxConfig(workers=1, wall_seconds=3, cpu_seconds=3))
    assert (
        quick.answer == 1 and quick.seconds < 8
    )  # after the slow ones had their second each, not their three
    assert {(str(r.status), r.level.split()[0]) for r in slow} == {("timeout", "fork")}


def test_survey_stops_at_the_first_world_that_a_program_does_not_survive() -> None:
    code = "final_answer = gd_detect(img_pth, 'cup')[0]['label']"
    for fast in (True, False):
        results = in_sandbox(lambda s: s.survey(code, WORLDS, SIZE), SandboxConfig(fast=fast, workers=1))
        assert [str(r.status) for r in results] == ["ok", "ok", "error"]
        assert "IndexError" in str(results[-1].error)


def test_numpy_random_runs_on_the_fork_path_and_starts_afresh() -> None:
    async def use(sandbox: Sandbox) -> list[ProgramResult]:
        codes = ["np.random.seed(3)\nfinal_answer = float(np.random.rand())"] * 2
        codes.append("import numpy.random as r\nfinal_answer = float(r.default_rng(0).random())")
        return [await placeholder(sandbox, code) for code in codes]

    first, second, third = in_sandbox(use)
    assert first.answer == second.answer == pytest.approx(0.5507979025745755)
    assert third.answer == pytest.approx(0.6369616873214543) and third.level.startswith("fork")


def test_a_closed_sandbox_starts_nothing() -> None:
    async def main() -> None:
        sandbox = Sandbox(ONE_WORKER)
        await sandbox.start()
        await sandbox.close()
        with pytest.raises(ProgramError, match="closed"):
            await placeholder(sandbox, "final_answer = 1")

    asyncio.run(main())


def test_a_worker_that_says_what_none_says_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    from valor_ray.program import warm_pool

    answers = iter(
        [
            {"t": "surveyed", "results": []},
            {"t": "surveyed", "results": [{"status": "fine"}]},
            {"results": [{"status": "ok", "answer": 9, "error": "", "line": "x"}]},
            {"results": [{"status": "ok", "answer": 9, "error": "", "line": None}] * 7},
            [],
        ]
    )

    async def forged(_process: object, _request: object) -> Any:
        return json.loads(json.dumps(next(answers)))

    async def use(sandbox: Sandbox) -> list[ProgramResult]:
        monkeypatch.setattr(warm_pool, "_exchange", forged)
        return [await placeholder(sandbox, "final_answer = 4") for _ in range(5)]

    results = in_sandbox(use)
    assert [r.answer for r in results] == [4] * 5 and all(r.level.startswith("fork") for r in results)
