"""The parts of `valor bench judges` that need Ray: the Serve path, scaling with replicas, and the account's limit."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import serve

from deployments.actors.judge_ledger import close_judge_ledger
from deployments.app import gateway_name
from deployments.ports import RemoteJudge
from deployments.serving import deploy_gateway, running_ray
from valor_ray.config.judging import Part
from valor_ray.config.tree import Config
from valor_ray.judges.plan_heads import verdict_requests
from valor_ray.perf.judge_load import ask_all, judge_config
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.records import JudgeRequest

REPLICAS = (1, 2, 4)
IN_FLIGHT = 16  # calls of one replica while scaling is measured
LATENCY_S = 1.0
PER_MINUTE = 600
WARM_S = 3.0  # before counting


def measure_serve(
    replies: list[list[JudgeRequest]], scaling_s: float, limit_s: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Replies a second over handles; calls a second with 1, 2, 4 replicas; what a limited account saw."""
    throughput: dict[int, float] = {}
    with running_ray(Config.load(), say):
        say("the gateway as a Serve deployment")
        with MockJudge() as mock, mock_gateway(mock) as judge:
            plain = asyncio.run(ask_all(judge, replies))
        for replicas in REPLICAS:
            say(f"{replicas} replica(s), {IN_FLIGHT} calls in flight each, {LATENCY_S:g} s latency")
            limits = {"max_in_flight": IN_FLIGHT, "first_in_flight": IN_FLIGHT, "hedge": False}
            with (
                MockJudge(median_s=LATENCY_S, sigma=0) as mock,
                mock_gateway(mock, "judge", replicas=replicas, **limits) as judge,
            ):
                tasks = 2 * replicas * IN_FLIGHT // 4
                throughput[replicas] = asyncio.run(_rate(judge, mock, tasks, scaling_s))
        say(f"{REPLICAS[-1]} replicas on an account of {PER_MINUTE} requests a minute, for {limit_s:g} s")
        with MockJudge(median_s=0.1) as mock:
            with mock_gateway(
                mock, replicas=REPLICAS[-1], requests_per_minute=PER_MINUTE, hedge=False
            ) as judge:
                rate = asyncio.run(_rate(judge, mock, 60, limit_s))
            most = mock.stats()["most_per_minute"]
    return {
        "replies_per_second": plain["replies_per_second"],
        "throughput": {str(replicas): round(rate, 2) for replicas, rate in throughput.items()},
        "scaling": {
            str(replicas): round(throughput[replicas] / (replicas * throughput[1]), 3)
            for replicas in REPLICAS[1:]
        },
        "limit_respected": most <= PER_MINUTE,
        "limit_most_per_minute": most,
        "limit_used": round(rate * 60 / PER_MINUTE, 4),
    }


def write_scaling(folder: Path, throughput: dict[str, float]) -> None:
    """The figures of the plot in a scoring report: calls a second by replicas."""
    folder.mkdir(parents=True, exist_ok=True)
    points = [{"replicas": int(replicas), "calls_per_s": rate} for replicas, rate in throughput.items()]
    content = {"points": points, "in_flight": IN_FLIGHT, "latency_s": LATENCY_S}
    (folder / "scaling.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


@contextmanager
def mock_gateway(mock: MockJudge, part: Part = "judge", **changes: Any) -> Iterator[RemoteJudge]:
    """The gateway alone, for a mock endpoint, with a ledger of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield RemoteJudge(deploy_gateway(judge_config(mock.base_url, **changes), Path(folder), part), part)
        serve.delete(gateway_name(folder, part))
        close_judge_ledger()


async def _rate(judge: RemoteJudge, mock: MockJudge, workers: int, seconds: float) -> float:
    """Calls a second that the endpoint saw while so many replies were being judged at a time, after a warm-up."""
    number = 0
    end = time.monotonic() + WARM_S + seconds

    async def work() -> None:
        nonlocal number
        while time.monotonic() < end:
            number += 1
            question = f"Is thing {number} left of the plate?"
            await judge.ask(
                list(verdict_requests(question, f"1. Look at {number}.", f"final_answer = {number}").values())
            )

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    await asyncio.sleep(WARM_S)
    before, started = (await asyncio.to_thread(mock.stats))["calls"], time.monotonic()
    await asyncio.sleep(max(0.0, end - time.monotonic()))
    after, ended = (await asyncio.to_thread(mock.stats))["calls"], time.monotonic()
    await asyncio.gather(*tasks)
    return float(after - before) / (ended - started)
