"""`valor bench sandbox`: CPU seconds per program, in the fast path, in a fork, and in a spawned process each."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil

from valor_ray.config.tree import Config
from valor_ray.perf.plain_program import run_in_process
from valor_ray.perf.scenes import PER_ROUND, scenes_cost
from valor_ray.program import gate
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramStatus

THREADS = 24  # of the plain way, as the reference runs it
SIZE = (640, 480)
LONGER = (
    """\
def area(b):
    return max(b[2] - b[0], 0) * max(b[3] - b[1], 0)

chairs = gd_detect(img_pth, "chair, stool")
tables = gd_detect(img_pth, "table")
near = []
for c in chairs:
    gaps = [abs((c["bbox"][0] + c["bbox"][2]) / 2 - (t["bbox"][0] + t["bbox"][2]) / 2) for t in tables]
    if gaps and min(gaps) < 400:
        near.append(area(c["bbox"]) * depth(img_pth, c["bbox"]) ** 2)
final_answer = float(np.mean(near)) if near else 0
""",
    """\
sizes = {}
for name in ["sofa", "lamp", "shelf"]:
    hits = gd_detect(img_pth, name)
    if not hits:
        continue
    boxes = np.array([hit["bbox"] for hit in hits])
    heights = boxes[:, 3] - boxes[:, 1]
    best = int(np.argmax(heights))
    sizes[name] = float(heights[best]) * depth(img_pth, [float(v) for v in boxes[best]])
ranked = sorted(sizes.items(), key=lambda kv: -kv[1])
final_answer = ranked[0][0] if ranked else "none"
""",
)


def run(args: Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """{ours, baseline, ratio, fork_ratio, ...}: CPU milliseconds per program, all processes counted."""
    programs = ordinary_programs(max(args.programs, args.plain))
    say(f"{args.plain} programs the plain way: a spawned process each, from {THREADS} threads")
    baseline = _plain(programs[: args.plain])
    say(f"{args.programs} programs in a fork each")
    fork = asyncio.run(_sandbox(programs[: args.programs], fast=False))
    say(f"{args.programs} programs on the fast path")
    fast = asyncio.run(_sandbox(programs[: args.programs], fast=True))
    rounds = max(args.programs // PER_ROUND, 1)
    say(f"{rounds * PER_ROUND} programs in scenes, beside their syntax check")
    scenes = asyncio.run(scenes_cost(_cpu_s, rounds))
    return {
        "ours": fast,
        "fork": fork,
        "baseline": baseline,
        "ratio": round(baseline["cpu_ms"] / fast["cpu_ms"], 1),
        "fork_ratio": round(baseline["cpu_ms"] / fork["cpu_ms"], 1),
        "wall_ratio": round(fast["per_second"] / baseline["per_second"], 1),
        "gated": round(sum(map(gate.passes, programs)) / len(programs), 4),
        "scenes": scenes,
        "scenes_ratio": scenes["scenes_ratio"],
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
    }


def ordinary_programs(count: int) -> list[str]:
    """Programs as the base policy writes them, right and wrong habits, and one in ten longer."""
    from valor_ray.tabletop.replies.mixture import base_text
    from valor_ray.tabletop.sample_questions import free_blueprint

    rng = np.random.default_rng(0)
    programs: list[str] = []
    while len(programs) < count:
        parsed = parse_reply(base_text(free_blueprint(rng), rng)[1])
        if parsed.well_formed:
            code = LONGER[len(programs) % 2] if len(programs) % 10 == 9 else parsed.code
            programs.append(f"{code}\n# {len(programs)}\n")  # no two alike: nothing is remembered of another
    return programs


def _plain(programs: list[str]) -> dict[str, float]:
    before, started = _cpu_s(), time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda code: run_in_process(code, SIZE), programs))
    return _figures(len(programs), _cpu_s() - before, time.perf_counter() - started)


async def _sandbox(programs: list[str], fast: bool) -> dict[str, float]:
    config = Config.load().sandbox.model_copy(update={"fast": fast})
    async with Sandbox(config) as sandbox:

        async def one(code: str) -> ProgramStatus:
            return (await sandbox.run(code, PlaceholderTools(SIZE), SIZE)).status

        await asyncio.gather(*map(one, programs[:8]))  # start what stays
        gate.passes.cache_clear()
        before, started = _cpu_s(), time.perf_counter()
        for start in range(0, len(programs), THREADS):
            await asyncio.gather(*map(one, programs[start : start + THREADS]))
        return _figures(len(programs), _cpu_s() - before, time.perf_counter() - started)


def _figures(count: int, cpu_s: float, wall_s: float) -> dict[str, float]:
    return {
        "programs": count,
        "cpu_ms": round(1000 * cpu_s / count, 3),
        "per_second": round(count / wall_s, 1),
    }


def _cpu_s() -> float:
    """CPU seconds of this process and all below it, ended ones included."""
    me = psutil.Process()
    total = sum(me.cpu_times()[:4])
    for child in me.children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total
