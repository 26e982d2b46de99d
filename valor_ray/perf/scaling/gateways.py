"""`valor bench gateways`: judge calls a second with 1, 2, 4 gateways, and what bends the curve without a cap."""

from __future__ import annotations

import asyncio
import os
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from deployments.ports import RemoteJudge
from deployments.ray_data import roomy
from deployments.serving import running_ray
from valor_ray.config.tree import Config
from valor_ray.errors import ServiceError
from valor_ray.perf.judge_bench import mock_gateway
from valor_ray.perf.judge_load import reply_requests
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.perf.scaling.spent import bend, snapshot, spent

Say = Callable[[str], None]
TARGET = 3.5  # of the ratio of 4 to 1
TIMEOUT_S = 60.0
_UNCAPPED = 1024  # calls in flight of a gateway: more than its CPU can turn over
_CALLS = 4  # of a reply
_AHEAD = 1.5  # replies being judged, as a multiple of what fills the gateways


def run(args: Namespace, say: Say) -> dict[str, Any]:
    """{ours, baseline, ratio, target, throughput, scaling, uncapped, cpu_ms_per_call, ...}: most gateways to fewest."""
    with running_ray(roomy(Config.load(), 16), say):
        capped = _curve(args, args.in_flight, "the calls in flight that are allowed", say)
        uncapped = _curve(args, _UNCAPPED, "nothing here: the endpoint's time", say)
    first, last = args.replicas[0], args.replicas[-1]
    rates = {replicas: each["calls_per_second"] for replicas, each in capped.items()}
    most = max(uncapped, key=lambda replicas: uncapped[replicas]["calls_per_second"])
    return {
        "ours": capped[last],
        "baseline": capped[first],
        "ratio": round(rates[last] / rates[first], 2),
        "target": TARGET,
        "throughput": {str(replicas): rate for replicas, rate in rates.items()},
        "scaling": {str(r): round(rates[r] * first / (r * rates[first]), 3) for r in rates if r != first},
        "by_replicas": {str(replicas): each for replicas, each in capped.items()},
        "uncapped": {str(replicas): each for replicas, each in uncapped.items()},
        "most_calls_per_second": uncapped[most]["calls_per_second"],
        "cpu_ms_per_call": uncapped[most]["cpu_ms_per_call"],
        "bound_by": uncapped[most]["bound_by"],
        "in_flight_each": args.in_flight,
        "latency_s": args.latency,
        "path": "gateways as Serve deployments over handles, one ledger; the endpoint is a process of this machine",
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def _curve(args: Namespace, in_flight: int, otherwise: str, say: Say) -> dict[int, dict[str, Any]]:
    figures: dict[int, dict[str, Any]] = {}
    for replicas in args.replicas:
        say(
            f"{replicas} gateway(s), {in_flight} calls in flight each, {args.latency:g} s latency, {args.seconds} s"
        )
        limits = {
            "max_in_flight": in_flight,
            "first_in_flight": in_flight,
            "hedge": False,
            "timeout_s": TIMEOUT_S,
        }
        with (
            MockJudge(median_s=args.latency, sigma=0) as mock,
            mock_gateway(mock, "judge", replicas=replicas, **limits) as judge,
        ):
            workers = int(_AHEAD * replicas * in_flight / _CALLS)
            figures[replicas] = asyncio.run(
                _rate(judge, mock, workers, args.seconds, 2 * args.latency, otherwise)
            )
    return figures


async def _rate(
    judge: RemoteJudge, mock: MockJudge, workers: int, seconds: float, warm_s: float, otherwise: str
) -> dict[str, Any]:
    """What the endpoint saw, and what it took here, while so many replies were being judged at a time."""
    end = time.monotonic() + warm_s + seconds
    number = 0

    async def work() -> None:
        nonlocal number
        while time.monotonic() < end:
            number += 1
            await judge.ask(reply_requests(number))

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    await asyncio.sleep(warm_s)
    calls, before = (await asyncio.to_thread(mock.stats))["calls"], snapshot()
    await asyncio.sleep(max(0.0, end - time.monotonic()))
    seen = await asyncio.to_thread(mock.stats)
    calls, used = seen["calls"] - calls, spent(before, snapshot())
    await asyncio.gather(*tasks)
    if not calls:
        raise ServiceError(
            f"No call came in {seconds:g} s: is the machine overloaded? Give a longer --seconds."
        )
    return {
        "calls_per_second": round(calls / used.wall_s, 2),
        "most_in_flight": seen["most_in_flight"],
        **used.record(calls, "call"),
        "bound_by": bend(used, otherwise),
    }
