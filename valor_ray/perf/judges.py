"""`valor bench judges`: judged replies a second, through the gateway and the plain way, against a mock endpoint."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from valor_ray.judges.gateway.connect import open_judge
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.perf.judge_load import ask_all, judge_config, reply_requests
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.perf.plain_judges import THREADS, judge_plainly
from valor_ray.records import JudgeRequest

Say = Callable[[str], None]
FAULTS = {"throttled": 0.02, "failed": 0.01, "hung": 0.01}


def run(args: Namespace, say: Say) -> dict[str, Any]:
    """{ours, baseline, ratio, faults_ratio, scaling, limit_respected, limit_used, second_run, ...}."""
    from valor_ray.perf.judge_bench import measure_serve, write_scaling

    replies = [reply_requests(number) for number in range(args.replies)]
    import openai  # noqa: F401 before anything is measured

    gc.collect()
    gc.freeze()  # what the packages' imports left behind is not gone through again in the middle of a run
    say(f"{args.replies} replies, no faults: {THREADS} threads with the sync client")
    baseline = judge_plainly(replies, {})
    say("the same through the gateway, twice")
    ours, second = _gateway(replies, {})
    say("the same with 2 % 429, 1 % 500, 1 % hangs: threads")
    faulty_baseline = judge_plainly(replies, FAULTS)
    say("and the gateway")
    faulty, _ = _gateway(replies, FAULTS)
    serve = measure_serve(replies, args.scaling_seconds, args.limit_seconds, say)
    if args.out is not None:
        write_scaling(args.out, serve["throughput"])
    return {
        "ours": ours,
        "baseline": baseline,
        "ratio": round(ours["replies_per_second"] / baseline["replies_per_second"], 2),
        "faults": {"ours": faulty, "baseline": faulty_baseline},
        "faults_ratio": round(faulty["replies_per_second"] / faulty_baseline["replies_per_second"], 2),
        "second_run": {
            **second,
            "ratio": round(second["replies_per_second"] / ours["replies_per_second"], 1),
        },
        "serve_ratio": round(serve["replies_per_second"] / baseline["replies_per_second"], 2),
        **serve,
        "path": "ratio, faults_ratio, second_run: a gateway in this process; the rest: Serve, over handles",
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def _gateway(
    replies: list[list[JudgeRequest]], faults: dict[str, float]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of a first and a second run over the same answers."""
    with MockJudge(**faults) as mock, tempfile.TemporaryDirectory() as folder:

        async def both() -> tuple[dict[str, Any], dict[str, Any]]:
            ledger = Ledger(Path(folder))
            judge = open_judge(judge_config(mock.base_url), ledger)
            first = await ask_all(judge, replies)
            calls = mock.stats()["calls"]
            second = await ask_all(judge, replies)
            second["calls"] = mock.stats()["calls"] - calls
            first["calls"] = calls
            await judge.close()
            ledger.close()
            return first, second

        return asyncio.run(both())
