import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from valor_ray.config.service import SandboxConfig
from valor_ray.errors import JudgeError, ProgramError, ToolError
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.program.walls import seccomp
from valor_ray.records import ProgramResult
from valor_ray.tools import ToolHost

SIZE = (640, 480)
Zygotes = Callable[..., list[psutil.Process]]
FAST = SandboxConfig(wall_seconds=10, cpu_seconds=5)


def run_all(*codes: str, tools: ToolHost | None = None, config: SandboxConfig = FAST) -> list[ProgramResult]:
    async def main() -> list[ProgramResult]:
        async with Sandbox(config) as sandbox:
            return [await sandbox.run(code, tools or PlaceholderTools(SIZE), SIZE) for code in codes]

    return asyncio.run(main())


def run_one(code: str, tools: ToolHost | None = None, config: SandboxConfig = FAST) -> ProgramResult:
    return run_all(code, tools=tools, config=config)[0]


async def no_tools(tool: str, args: dict[str, Any]) -> Any:
    raise AssertionError("not called")


def test_answers_come_back_as_json_values() -> None:
    answers = {
        "1": 1,
        "2.5": 2.5,
        "True": True,
        "'yes'": "yes",
        "(1, 'a', None)": [1, "a", None],
        "{'a': [1, 2]}": {"a": [1, 2]},
        "{3: 1}": {"3": 1},
        "{2, 1}": [1, 2],
        "np.float32(0.5)": 0.5,
        "np.int64(7)": 7,
        "np.bool_(True)": True,
        "np.arange(3)": [0, 1, 2],
        "math.floor(2.7)": 2,
        "np.max([1, 5])": 5,
        "'\\ud800'": None,
        "[image.width, image.height, image.size]": [640, 480, [640, 480]],
    }
    results = run_all(*(f"final_answer = {code}" for code in answers))
    assert [result.answer for result in results[:-2]] == list(answers.values())[:-2]
    assert results[-1].answer == [640, 480, [640, 480]]
    assert results[-2].status == "error" and "half a character" in str(results[-2].error)


def test_answers_that_are_none_say_why() -> None:
    codes = {
        "x = 1": "without setting final_answer",
        "final_answer = None": "without setting final_answer",
        "return 5": "without setting final_answer: `return` with a value does not set it",
        "final_answer = float('nan')": "final_answer holds nan",
        "final_answer = [1, np.inf]": "final_answer holds inf",
        "final_answer = print": "final_answer holds a builtin_function_or_method",
        "final_answer = 1j": "final_answer holds a complex",
    }
    results = run_all(*codes)
    assert [str(result.status) for result in results] == ["error"] * len(codes)
    for result, words in zip(results, codes.values(), strict=True):
        assert words in str(result.error)


def test_return_at_the_top_ends_the_program() -> None:
    code = "if not 5:\n    final_answer = 0\n    return\nfinal_answer = 1\nreturn\nfinal_answer = 2"
    assert run_one(code).answer == 1


def test_names_behave_as_at_module_level() -> None:
    codes = {
        "n = 0\ndef f():\n    global n\n    n += 1\nf()\nf()\nfinal_answer = n": 2,
        "def f(k):\n    return 1 if k == 0 else k * f(k - 1)\nfinal_answer = f(5)": 120,
        "k = 3\nfinal_answer = [k * i for i in range(3)]": [0, 3, 6],
        "from math import *\nif True:\n    final_answer = floor(2.5)\n    return": 2,
        "from __future__ import annotations\nfinal_answer = 1": 1,
        "class A:\n    x = 1\nfinal_answer = A.x": 1,
        "match [1, 2]:\n    case [a, *rest]:\n        final_answer = rest": [2],
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    final_answer = str(e)": "division by zero",
        "import numpy.linalg as la, json\nfinal_answer = json.loads('[1]')": [1],
        "def f(x):\n  def g():\n    nonlocal x\n    x += 1\n  g()\n  return x\nfinal_answer = f(1)": 2,
    }
    assert [result.answer for result in run_all(*codes)] == list(codes.values())


def test_multi_line_texts_keep_every_character() -> None:
    code = 'text = """a\n  b\n\n    c"""\nfinal_answer = text\nif text:\n    return\n'
    assert run_one(code).answer == "a\n  b\n\n    c"


def test_programs_that_do_not_parse_are_rejected() -> None:
    codes = (
        "def f(: 3",
        "Here is the program:",
        "x = '",
        "yield 1",
        "a\0b",
        "(" * 5000,
        "-" * 50_000 + "1",
        "\ud800",
    )
    results = run_all(*codes, tools=no_tools)
    assert [str(result.status) for result in results] == ["rejected"] * len(codes)
    assert results[0].line == 1


def test_a_program_over_the_size_limit_is_rejected() -> None:
    result = run_one("#" * 70_000)
    assert (result.status, result.error) == ("rejected", "the program is longer than 64 KiB")


def test_the_usual_numpy_functions_work() -> None:
    calls = (
        "percentile([1, 2, 3], 50)",
        "unique([1, 1])",
        "median([1, 2])",
        "std([1, 2])",
        "histogram([1, 2], bins=2)[0]",
        "polyfit([1, 2], [1, 2], 1)",
        "linalg.norm([3, 4])",
        "linalg.svd(np.eye(2))[1]",
        "argsort([2, 1])",
        "intersect1d([1], [1])",
        "corrcoef([1, 2], [1, 3])",
        "interp(1.5, [1, 2], [1, 2])",
        "nanmean([1, np.nan])",
        "isin([1], [1])",
        "fft.fft([1, 2]).real",
        "array2string(np.array([1.5]))",
        "cross([1, 0, 0], [0, 1, 0])",
        "einsum('i,i', [1, 2], [1, 2])",
        "cov([1, 2])",
        "gradient([1, 2])",
    )
    results = run_all(*(f"final_answer = np.{call}" for call in calls))
    assert [(call, r.error) for call, r in zip(calls, results, strict=True) if r.status != "ok"] == []


def test_imports_of_anything_else_name_what_there_is() -> None:
    codes = ("import os", "from PIL import Image", "import numpy.f2py", "import scipy.stats as s")
    for result in run_all(*codes):
        assert result.status == "error"
        assert "cannot be imported here; a program may import __future__, abc" in str(result.error)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to be somebody else than root")
def test_without_root_the_other_walls_stand() -> None:
    code = (
        "import asyncio, os\n"
        "from valor_ray.config.tree import SandboxConfig\n"
        "from valor_ray.program.sandbox import Sandbox\n"
        "async def main():\n"
        "    async with Sandbox(SandboxConfig()) as sandbox:\n"
        "        result = await sandbox.run('final_answer = open(\"/etc/passwd\").read()', None, (1, 1))\n"
        "        print(os.geteuid() != 0, sandbox.layers['other_user'], result.status, result.error)\n"
        "asyncio.run(main())\n"
    )
    command = ["unshare", "--user", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    if "unshare" in done.stderr:
        pytest.skip("user namespaces are off")
    assert done.stdout.startswith("True False error PermissionError"), done.stderr


def test_the_line_of_the_failure_is_reported() -> None:
    result = run_one('def f(x):\n    return 1 / x\n\nprint("so far")\nfinal_answer = f(0)')
    assert (result.status, result.line, result.error) == ("error", 2, "ZeroDivisionError: division by zero")
    assert result.output == "so far\n"


def test_every_call_is_in_the_trace_with_line_and_canonical_arguments() -> None:
    code = (
        'cars = gd_detect(img_pth, prompt="car")\n'
        "near = min(\n"
        "    depth(img_pth, bbox=car['bbox']) for car in cars\n"
        ")\n"
        'what = VQA(image.crop((10, 20, 30, 40)), "What is it?")\n'
        "try:\n"
        "    depth(img_pth, cars[0])\n"
        "except ToolError as error:\n"
        "    final_answer = str(error)\n"
    )
    result = run_one(code)
    assert [(call.tool, call.line) for call in result.calls] == [
        ("gd_detect", 1),
        ("depth", 3),
        ("depth", 3),
        ("vqa", 5),
        ("depth", 7),
    ]
    assert result.calls[0].args == {"prompt": "car"}
    assert result.calls[0].result[0]["label"] == "car"
    assert result.calls[3].args == {"bbox": [10.0, 20.0, 30.0, 40.0], "prompt": "What is it?"}
    assert result.calls[4].error == result.answer
    assert 'pass its ["bbox"]' in str(result.answer)
    assert all(call.ms >= 0 for call in result.calls)


def test_a_wrong_keyword_is_an_error_that_names_it() -> None:
    result = run_one("final_answer = depth(img_pth, box=[0, 0, 1, 1])")
    assert result.error == "TypeError: depth() got an unexpected keyword argument 'box'"


def test_a_failed_judge_ends_the_program_even_if_it_would_go_on() -> None:
    async def tools(tool: str, args: dict[str, Any]) -> Any:
        raise JudgeError("the endpoint is down")

    result = run_one("try:\n    vqa(img_pth, None, 'x')\nexcept Exception:\n    final_answer = 'no'", tools)
    assert (result.status, result.answer) == ("error", None)
    assert result.error == "vqa failed: the endpoint is down"
    assert result.calls[0].error == "the endpoint is down"


def test_a_refused_call_is_an_exception_in_the_program() -> None:
    async def tools(tool: str, args: dict[str, Any]) -> Any:
        raise ToolError("depth: no depth there")

    result = run_one("final_answer = 1\ndepth(img_pth, [0, 0, 5, 5])", tools)
    assert (result.status, result.line, result.error) == ("error", 2, "ToolError: depth: no depth there")


def test_a_bug_in_a_tool_host_is_not_a_result() -> None:
    async def tools(tool: str, args: dict[str, Any]) -> Any:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_one("depth(img_pth, [0, 0, 5, 5])", tools)


def test_waiting_for_tools_is_not_the_programs_time() -> None:
    async def tools(tool: str, args: dict[str, Any]) -> Any:
        await asyncio.sleep(0.4)
        return 1.0

    code = "final_answer = sum(depth(img_pth, [0, 0, 5, 5]) for _ in range(5))"
    assert run_one(code, tools, SandboxConfig(wall_seconds=1)).answer == 5.0


def test_tools_that_take_too_long_have_a_limit_of_their_own_and_the_call_stays_in_the_trace() -> None:
    async def tools(tool: str, args: dict[str, Any]) -> Any:
        await asyncio.sleep(0.5 if len(args["prompt"]) == 1 else 60)
        return "red"

    code = (
        "try:\n    x = [vqa(img_pth, None, 'a' * (i + 1)) for i in range(2)]\nfinally:\n    final_answer = 1"
    )
    result = run_one(code, tools, SandboxConfig(wall_seconds=20, tool_seconds=1))
    assert result.status == "timeout" and result.seconds < 18
    assert result.error == "the tools took longer than 1 s, in 2 calls (sandbox.tool_seconds)"
    assert [call.error for call in result.calls] == [None, "cut off by the time limit"]


def test_time_between_tool_calls_adds_up() -> None:
    code = "import time\nfor _ in range(50):\n    time.sleep(0.1)\n    depth(img_pth, [0, 0, 5, 5])\nfinal_answer = 1"
    result = run_one(code, PlaceholderTools(SIZE), SandboxConfig(wall_seconds=1))
    assert (result.status, result.error) == ("timeout", "the program took longer than 1 s")


def test_a_tool_that_times_out_by_itself_is_not_the_programs_doing() -> None:
    async def tools(tool: str, args: dict[str, Any]) -> Any:
        raise TimeoutError("the tool's own")

    with pytest.raises(TimeoutError, match="own"):
        run_one("depth(img_pth, [0, 0, 5, 5])", tools)


@pytest.mark.parametrize(
    "code", ["np " * 20_000, "# " + "np." * 20_000, "numpy random " * 4_000, "np\n" * 20_000]
)
def test_the_choice_of_a_process_takes_no_time_however_the_program_is_written(code: str) -> None:
    from valor_ray.program.sandbox import _names_numpy_random

    started = time.perf_counter()
    assert _names_numpy_random(code) == ("random" in code)
    assert time.perf_counter() - started < 30  # a millisecond; in quadratic time, minutes


def test_many_programs_run_at_a_time() -> None:
    async def tools(tool: str, args: dict[str, Any]) -> Any:
        await asyncio.sleep(0.5)
        return 1.0

    async def main() -> list[ProgramResult]:
        async with Sandbox(SandboxConfig()) as sandbox:
            code = "final_answer = depth(img_pth, [0, 0, 5, 5])"
            return await asyncio.gather(*(sandbox.run(code, tools, SIZE) for _ in range(100)))

    results = asyncio.run(main())
    assert [result.answer for result in results] == [1.0] * 100


def test_a_killed_zygote_is_replaced_and_the_program_run_again(zygotes: Zygotes) -> None:
    async def main() -> list[ProgramResult]:
        async with Sandbox(SandboxConfig()) as sandbox:
            (zygote,) = zygotes()
            calls = 0

            async def tools(tool: str, args: dict[str, Any]) -> Any:
                nonlocal calls
                calls += 1
                if calls == 1:
                    zygote.kill()
                    await asyncio.sleep(1)  # its programs die with it
                return float(calls)

            code = "final_answer = depth(img_pth, [0, 0, 5, 5])"
            return [await sandbox.run(code, tools, SIZE) for _ in range(2)]

    assert [result.answer for result in asyncio.run(main())] == [2.0, 3.0]


def test_cancelling_a_run_ends_its_process(zygotes: Zygotes) -> None:
    async def main() -> int:
        async with Sandbox(SandboxConfig()) as sandbox:
            task = asyncio.create_task(sandbox.run("while True: pass", no_tools, SIZE))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.5)
            (zygote,) = zygotes()
            return len(zygote.children())

    assert asyncio.run(main()) == 1  # the warm worker


def test_nothing_survives_a_killed_driver() -> None:
    code = (
        "import asyncio\n"
        "from valor_ray.config.tree import SandboxConfig\n"
        "from valor_ray.program.sandbox import Sandbox\n"
        "async def main():\n"
        "    async with Sandbox(SandboxConfig()) as sandbox:\n"
        "        asyncio.get_running_loop().call_later(0.5, print, 'running', flush=True)\n"
        "        await sandbox.run('while True: pass', None, (1, 1))\n"
        "asyncio.run(main())\n"
    )
    driver = subprocess.Popen(
        [
            sys.executable,
            "-c",
            code.replace("print, 'running', flush=True", "lambda: print('running', flush=True)"),
        ],
        stdout=subprocess.PIPE,
    )
    assert driver.stdout is not None
    driver.stdout.readline()
    below = psutil.Process(driver.pid).children(recursive=True)
    assert len(below) >= 3  # zygote, warm worker, program; bubblewrap's where it is
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    _, alive = psutil.wait_procs(below, timeout=5)
    assert alive == []


def test_without_a_system_call_filter_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # A filter that the kernel refuses stands for a kernel that has none: the zygote gets it through the same path.
    from valor_ray.program import zygote_process

    monkeypatch.setattr(
        zygote_process,
        "_RUN",
        "import sys; sys.path[:0] = sys.argv[1:3]; from valor_ray.program.walls import seccomp;"
        " seccomp.build = lambda fd: b''; " + zygote_process._RUN,
    )
    with pytest.raises(ProgramError, match=r"cannot lock a program down .*: nothing was run"):
        run_one("final_answer = 1")


def test_a_zygote_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valor_ray.program.zygote_process._RUN", "raise SystemExit('no such thing')")
    with pytest.raises(ProgramError, match="does not start: no such thing"):
        run_one("final_answer = 1")


def test_the_filter_is_built_for_both_architectures() -> None:
    for machine in ("x86_64", "aarch64"):
        code = seccomp.build(3, machine)
        assert len(code) % 8 == 0 and 50 <= len(code) // 8 < 100
    with pytest.raises(seccomp.SeccompError, match="no system-call table for riscv64"):
        seccomp.build(3, "riscv64")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_programs_run_as_nobody_when_root_starts_them(zygotes: Zygotes) -> None:
    async def main() -> set[int]:
        async with Sandbox(SandboxConfig()) as sandbox:
            assert sandbox.layers["other_user"]
            task = asyncio.create_task(sandbox.run("while True: pass", no_tools, SIZE))
            await asyncio.sleep(1)
            (zygote,) = zygotes()
            programs = [child for child in zygote.children() if child.status() != psutil.STATUS_ZOMBIE]
            users = {uid for child in programs for uid in child.uids()}
            task.cancel()
            return users

    assert asyncio.run(main()) == {65534}


def test_start_is_quick() -> None:
    started = time.perf_counter()
    run_one("final_answer = 1")
    assert time.perf_counter() - started < 60  # 0.3 s on an idle machine
