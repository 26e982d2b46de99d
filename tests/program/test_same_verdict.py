"""The fast path and the fork path give one verdict: of each program that passes the gate, also at its limits."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from programs import seeded

from valor_ray.config.service import SandboxConfig
from valor_ray.program import gate
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult

SIZE = (640, 480)
LIMITS = SandboxConfig(
    workers=2, memory_mib=128, output_kib=4, max_calls=30, wall_seconds=20, cpu_seconds=3, bubblewrap=False
)
AT_ONCE = 24
NEAR = 0.1  # of a limit: there a verdict hangs on a few bytes of the interpreter's own


def scaled(share: float) -> SandboxConfig:
    """The limits, each that much larger."""
    names = ("memory_mib", "max_calls")
    return LIMITS.model_copy(update={"fast": False} | {n: round(getattr(LIMITS, n) * share) for n in names})


@dataclass
class Compared:
    fast: int = 0  # programs that a warm worker told the verdict of
    statuses: Counter[str] = field(default_factory=Counter)
    near: int = 0  # programs whose verdict is another with limits a tenth smaller or larger
    different: list[str] = field(default_factory=list)


def told(result: ProgramResult) -> dict[str, Any]:
    calls = tuple(replace(call, ms=0.0) for call in result.calls)
    return vars(replace(result, seconds=0.0, level="", calls=calls))


async def run(sandbox: Sandbox, code: str) -> ProgramResult:
    return await sandbox.run(code, PlaceholderTools(SIZE), SIZE)


async def compare(count: int, first_seed: int = 0) -> Compared:
    """The first `count` programs from there on that pass the gate, on both paths."""
    compared = Compared()
    seeds = iter(range(first_seed, 10**9))
    forks = (LIMITS.model_copy(update={"fast": False}), scaled(1 - NEAR), scaled(1 + NEAR))
    async with (
        Sandbox(LIMITS) as fast,
        Sandbox(forks[0]) as fork,
        Sandbox(forks[1]) as less,
        Sandbox(forks[2]) as more,
    ):
        done = 0
        while done < count:
            codes: list[str] = []
            while len(codes) < min(AT_ONCE, count - done):
                code = seeded(next(seeds))
                codes += [code] if gate.passes(code) else []
            ours = await asyncio.gather(*(run(fast, code) for code in codes))
            theirs = await asyncio.gather(*(run(fork, code) for code in codes))
            for code, warm, cold in zip(codes, ours, theirs, strict=True):
                compared.statuses[str(cold.status)] += 1
                compared.fast += warm.level.startswith("fast")
                if told(warm) != told(cold):
                    around = [told(await run(sandbox, code)) for sandbox in (less, more)]
                    if any(other != told(cold) for other in around):
                        compared.near += 1
                    else:
                        compared.different.append(f"{code}\nfast {told(warm)}\nfork {told(cold)}\n")
            done += len(codes)
    return compared


def check(count: int, first_seed: int = 0) -> None:
    compared = asyncio.run(compare(count, first_seed))
    print(
        f"{count} programs: {dict(compared.statuses)}, {compared.fast} on the fast path, {compared.near} near a limit"
    )
    assert compared.different == [], "\n".join(compared.different[:5])
    assert compared.near <= count / 100
    assert compared.fast > 0.9 * count
    assert {"ok", "error", "killed"} <= set(compared.statuses)


def test_both_paths_give_the_same_verdict_answer_error_calls_and_output() -> None:
    check(600)
