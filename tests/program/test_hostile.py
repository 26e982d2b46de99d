"""Every program in hostile/ gets its status within the limit, gets nothing, and leaves the sandbox working."""

import asyncio
import re
import socket
import time
from pathlib import Path

import pytest

from valor_ray.config.service import SandboxConfig
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult

HOSTILE = Path(__file__).parent / "hostile"
SIZE = (640, 480)
SECRET = Path("/tmp/valor_ray_planted_secret")  # the paths that the programs name
WRITTEN = Path("/tmp/valor_ray_written")

ENDLESS = (  # these end only because the driver ends them
    "endless_loop",
    "fork_bomb",
    "sleep",
    "slow_arithmetic",
    "survive_sigterm",
    "swallow_everything",
)
EXPECTED = {
    "allocate_8_gb": ("killed", "memory"),
    "allocate_slowly": ("killed", "memory"),
    "call_exit": ("ok", "None"),
    "connect_tcp": ("error", "not permitted"),
    "connect_udp": ("error", "not permitted"),
    "ctypes_poke": ("killed", "SIGSEGV"),
    "ctypes_system_call": ("killed", "forbidden system call"),
    "deep_answer": ("error", "nested too deeply"),
    "deep_forged_answer": ("killed", "tampered .*more than 36 deep"),
    "flood_socket": ("killed", "tampered"),
    "flood_stdout": ("killed", "printed more than"),
    "forged_answer": ("killed", "tampered"),
    "forged_length": ("killed", "too long"),
    "forged_lock": ("killed", "tampered"),
    "forged_refusal": ("killed", "tampered"),
    "half_a_character_asked": ("killed", "tampered .*half a character"),
    "half_a_character_printed": ("killed", "tampered .*not UTF-8"),
    "huge_answer": ("error", "final_answer is longer"),
    "huge_tool_argument": ("error", "10485760|arguments are longer"),
    "import_os": ("error", "cannot be imported"),
    "kill_the_parent": ("error", "not permitted"),
    "long_forged_answer": ("killed", "too long"),
    "many_tool_calls": ("killed", "more than 20 tool calls"),
    "os_exit": ("error", "left its process"),
    "padded_prints": ("killed", "tampered"),
    "read_environment": ("error", "not permitted"),
    "read_secret": ("error", "not permitted"),
    "read_secret_by_os": ("error", "not permitted"),
    "recursion_bomb": ("error", "RecursionError"),
    "subclasses_to_shell": ("killed", "forbidden system call"),
    "subclasses_to_system": ("error", "no shell"),
    "system_exit": ("error", r"exit\(\)"),
    "threads": ("error", "thread"),
    "write_file": ("error", "not permitted"),
}
EITHER = ("deep_c_recursion",)  # ends as the interpreter pleases


def _source(name: str) -> str:
    return (HOSTILE / f"{name}.py").read_text()


async def _run(sandbox: Sandbox, name: str) -> ProgramResult:
    return await sandbox.run(_source(name), PlaceholderTools(SIZE), SIZE)


def test_every_hostile_program_has_an_expectation() -> None:
    assert sorted(path.stem for path in HOSTILE.glob("*.py")) == sorted([*ENDLESS, *EXPECTED, *EITHER])


def test_endless_programs_end_at_the_limit_while_others_are_served() -> None:
    config = SandboxConfig(wall_seconds=8, cpu_seconds=7, max_calls=10**6)

    async def main() -> tuple[list[ProgramResult], list[ProgramResult], float]:
        async with Sandbox(config) as sandbox:
            started = time.perf_counter()
            endless = [asyncio.create_task(_run(sandbox, name)) for name in ENDLESS]
            await asyncio.sleep(0.5)
            good = [await sandbox.run("final_answer = 1", PlaceholderTools(SIZE), SIZE) for _ in range(3)]
            assert not any(task.done() for task in endless)
            return await asyncio.gather(*endless), good, time.perf_counter() - started

    endless, good, seconds = asyncio.run(main())
    assert {name: str(r.status) for name, r in zip(ENDLESS, endless, strict=True)} == dict.fromkeys(
        ENDLESS, "timeout"
    )
    assert max(result.seconds for result in endless) < config.wall_seconds + 20
    assert seconds < config.wall_seconds + 20
    assert [result.answer for result in good] == [1, 1, 1]


@pytest.fixture
def plants(monkeypatch: pytest.MonkeyPatch):
    """A secret in a file, one in the environment, and somebody who listens."""
    SECRET.write_text("s3cret")
    WRITTEN.unlink(missing_ok=True)
    monkeypatch.setenv("VALOR_TEST_KEY", "s3cret")
    yield
    SECRET.unlink()


@pytest.mark.parametrize("fast", [True, False])
def test_hostile_programs_get_their_status_and_nothing_else(plants: None, fast: bool) -> None:
    config = SandboxConfig(wall_seconds=30, cpu_seconds=10, memory_mib=128, max_calls=20, fast=fast)

    async def main() -> dict[str, ProgramResult]:
        async with Sandbox(config) as sandbox:
            results = {name: await _run(sandbox, name) for name in [*EXPECTED, *EITHER]}
            results["after all"] = await sandbox.run("final_answer = 1", PlaceholderTools(SIZE), SIZE)
            return results

    results = asyncio.run(main())
    assert results.pop("after all").answer == 1
    for name in EITHER:
        assert results.pop(name).status in ("error", "killed", "timeout")
    assert {name: str(r.status) for name, r in results.items()} == {n: e[0] for n, e in EXPECTED.items()}
    for name, (_, words) in EXPECTED.items():
        assert re.search(words, str(results[name].error)), name
    assert not any("s3cret" in repr(result) or "/tmp" in repr(result.error) for result in results.values())
    assert not WRITTEN.exists()


def test_only_one_descriptor_is_open_and_it_is_no_file() -> None:
    code = (
        "classes = ().__class__.__base__.__subclasses__()\n"
        'g = [c for c in classes if c.__name__ == "_wrap_close"][0].__init__.__globals__\n'
        "opened = []\n"
        "for fd in range(64):\n"
        "    try:\n        g['write'](fd, b'')\n        opened.append(fd)\n"
        "    except OSError:\n        pass\n"
        "final_answer = [opened, dict(g['environ'])]"
    )

    async def main() -> ProgramResult:
        with socket.socket() as inherited:
            inherited.set_inheritable(True)
            async with Sandbox(SandboxConfig()) as sandbox:
                return await sandbox.run(code, PlaceholderTools(SIZE), SIZE)

    assert asyncio.run(main()).answer == [[3], {}]
