"""What passes the gate ends in a warm worker as it does in a fork, and leaves nothing to the program after it."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from programs import programs

from valor_ray.config.service import SandboxConfig
from valor_ray.program import gate
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult

SIZE = (640, 480)
LIMITS = SandboxConfig(
    workers=1, memory_mib=256, output_kib=4, max_calls=30, wall_seconds=20, bubblewrap=False
)


@pytest.fixture(scope="module")
def paths() -> Iterator[tuple[asyncio.Runner, Sandbox, Sandbox]]:
    with asyncio.Runner() as runner:
        fast, fork = Sandbox(LIMITS), Sandbox(LIMITS.model_copy(update={"fast": False}))
        for sandbox in (fast, fork):
            runner.run(sandbox.start())
        yield runner, fast, fork
        for sandbox in (fast, fork):
            runner.run(sandbox.close())


@given(programs())
def test_a_program_that_passes_ends_alike_on_both_paths(paths: Any, code: str) -> None:
    runner, fast, fork = paths
    assume(gate.passes(code) and "_000)" not in code and "10**9" not in code)  # memory is test_same_verdict's

    def told(sandbox: Sandbox) -> dict[str, Any]:
        result: ProgramResult = runner.run(sandbox.run(code, PlaceholderTools(SIZE), SIZE))
        return vars(
            replace(result, seconds=0.0, level="", calls=tuple(replace(c, ms=0.0) for c in result.calls))
        )

    assert told(fast) == told(fork)
