"""`valor bench boxes`: pictures a second through the three checks, ours and the plain way, at a mock endpoint."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from valor_ray.config.tree import Config
from valor_ray.judges.gateway.connect import open_judge
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.perf.boxes.account import Figures
from valor_ray.perf.boxes.load import kinds, pictures
from valor_ray.perf.boxes.ours import Side, check_all, numbered
from valor_ray.perf.boxes.plain import check_plainly
from valor_ray.perf.judge_load import judge_config
from valor_ray.perf.mock_judge import MockJudge

Say = Callable[[str], None]
LATENCY_S = 0.3
TIMEOUT_S = 60.0


def run(args: Namespace, say: Say) -> dict[str, Any]:
    """{ours, baseline, ratio, cpu_ratio, throughput, scaling, ...}: images and calls a second, CPU-seconds an image."""
    say(f"making {args.images} pictures")
    work = pictures(args.images)
    grounding = Config.load().grounding
    import openai  # noqa: F401 before anything is measured

    gc.collect()
    gc.freeze()  # what the packages' imports left behind is not gone through again in the middle of a run
    few = work[: args.plain_images]
    baseline, ours = [], []
    with MockJudge(median_s=LATENCY_S, sigma=0) as mock:
        for number in range(args.runs):
            say(f"run {number + 1} of {args.runs}: {len(few)} picture(s) the plain way")
            baseline.append(check_plainly(few, grounding, mock))
            say(f"{baseline[-1].wall_s / len(few):.1f} s each; {len(work)} through the gateway")
            ours.append(_through_gateway(numbered(work, number), mock, args.at_a_time))
        endpoint_cpu_s = mock.stats()["cpu_s"]
    result = {
        "ours": summary(ours),
        "baseline": summary(baseline),
        "ratio": _ratio(ours, baseline),
        "cpu_ratio": round(_cpu(baseline) / _cpu(ours), 2),
        "endpoint_cpu_s": round(endpoint_cpu_s, 2),
        "work": {**kinds(grounding), "latency_s": LATENCY_S, "images_at_a_time": args.at_a_time},
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }
    if args.gateways:
        from valor_ray.perf.boxes.gateways import measure_gateways

        result |= measure_gateways(work, args, say)
    return result


def _through_gateway(work: Sequence[Any], mock: MockJudge, at_a_time: int) -> Figures:
    """Figures of a gateway in this process, with nothing remembered."""
    with tempfile.TemporaryDirectory() as folder:

        async def checked() -> Figures:
            config = judge_config(mock.base_url, timeout_s=TIMEOUT_S)
            ledger = Ledger(Path(folder))
            judge = open_judge(config, ledger, part="vlm")
            try:
                return await check_all(Side(judge, Config.load().grounding, config), work, mock, at_a_time)
            finally:
                await judge.close()
                ledger.close()

        return asyncio.run(checked())


def summary(runs: Sequence[Figures]) -> dict[str, Any]:
    """Of the run in the middle, and the images a second of all in the order in which they ran."""
    middle = sorted(runs, key=lambda run: run.images_per_second)[len(runs) // 2]
    return {**middle.to_record(), "runs": [round(run.images_per_second, 4) for run in runs]}


def _ratio(ours: Sequence[Figures], theirs: Sequence[Figures]) -> float:
    """Median over the runs of what ran side by side."""
    pairs = zip(ours, theirs, strict=True)
    return round(statistics.median(a.images_per_second / b.images_per_second for a, b in pairs), 2)


def _cpu(runs: Sequence[Figures]) -> float:
    return statistics.median(run.cpu_s / run.pictures for run in runs)
