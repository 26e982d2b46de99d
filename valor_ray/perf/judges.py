"""`valor bench judges`: judged replies a second, through the gateway and the plain way, against a mock endpoint."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from valor_ray.config.judging import JudgeConfig
from valor_ray.config.tree import Config
from valor_ray.judges.gateway.connect import open_judge
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.judges.plan_heads import verdict_requests
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.ports import Judge
from valor_ray.records import JudgeRequest

Say = Callable[[str], None]
THREADS = 24  # of the plain way, as the reference runs it
TIMEOUT_S = 10.0  # per try, on both sides
FAULTS = {"throttled": 0.02, "failed": 0.01, "hung": 0.01}


def run(args: Namespace, say: Say) -> dict[str, Any]:
    """{ours, baseline, ratio, faults_ratio, scaling, limit_respected, limit_used, second_run, ...}."""
    from valor_ray.perf.judge_bench import measure_serve

    replies = [_requests(number) for number in range(args.replies)]
    import openai  # noqa: F401 before anything is measured

    gc.collect()
    gc.freeze()  # what the packages' imports left behind is not gone through again in the middle of a run
    say(f"{args.replies} replies, no faults: {THREADS} threads with the sync client")
    baseline = _plain(replies, {})
    say("the same through the gateway, twice")
    ours, second = _gateway(replies, {})
    say("the same with 2 % 429, 1 % 500, 1 % hangs: threads")
    faulty_baseline = _plain(replies, FAULTS)
    say("and the gateway")
    faulty, _ = _gateway(replies, FAULTS)
    serve = measure_serve(replies, args.scaling_seconds, args.limit_seconds, say)
    if args.out is not None:
        from valor_ray.perf.judge_bench import write_scaling

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


def _requests(number: int) -> list[JudgeRequest]:
    """The four judges of one made-up reply."""
    plan = f"1. Detect the cup {number} and the plate.\n2. If nothing is found, answer no.\n3. Compare the x."
    code = f'cups = gd_detect(img_pth, "cup {number}")\nfinal_answer = "yes" if cups else "no"'
    return list(verdict_requests(f"Is the cup {number} left of the plate?", plan, code).values())


def judge_config(base_url: str, **changes: Any) -> JudgeConfig:
    changes = {"base_url": base_url, "api_key_env": None, "timeout_s": TIMEOUT_S, "model": "mock", **changes}
    return Config.load().judge.model_copy(update=changes)


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


async def ask_all(judge: Judge, replies: list[list[JudgeRequest]]) -> dict[str, Any]:
    """Judge all replies at once; figures of it."""
    before, started = _cpu_s(), time.perf_counter()
    answers = await asyncio.gather(*(judge.ask(requests) for requests in replies))
    seconds = time.perf_counter() - started
    lost = sum(answer.content is None for group in answers for answer in group)
    calls = sum(len(group) for group in answers)
    return {
        "replies_per_second": round(len(replies) / seconds, 2),
        "cpu_ms_per_call": round(1000 * (_cpu_s() - before) / calls, 3),
        "lost": lost,
    }


def _plain(replies: list[list[JudgeRequest]], faults: dict[str, float]) -> dict[str, Any]:
    """Threads that each take a reply and make its four calls in sequence with the sync openai client."""
    import openai

    with MockJudge(**faults) as mock:
        client = openai.OpenAI(base_url=mock.base_url, api_key="none", timeout=TIMEOUT_S)

        def one(requests: list[JudgeRequest]) -> int:
            lost = 0
            for request in requests:
                schema: Any = {"name": request.head, "strict": True, "schema": dict(request.schema)}
                messages: Any = list(request.messages)
                try:
                    client.chat.completions.create(
                        model="mock",
                        messages=messages,
                        response_format={"type": "json_schema", "json_schema": schema},
                    )
                except openai.APIError:
                    lost += 1
            return lost

        before, started = _cpu_s(), time.perf_counter()
        with ThreadPoolExecutor(THREADS) as threads:
            lost = sum(threads.map(one, replies))
        seconds = time.perf_counter() - started
        calls = sum(map(len, replies))
        return {
            "replies_per_second": round(len(replies) / seconds, 2),
            "cpu_ms_per_call": round(1000 * (_cpu_s() - before) / calls, 3),
            "lost": lost,
            "calls": mock.stats()["calls"],
        }


def _cpu_s() -> float:
    return float(sum(psutil.Process().cpu_times()[:2]))
