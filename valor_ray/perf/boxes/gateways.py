"""The part of `valor bench boxes` that needs Ray: the gateway as a deployment, and 1, 2, 4 of it."""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

from deployments.serving import running_ray
from valor_ray.config.tree import Config
from valor_ray.errors import ServiceError
from valor_ray.perf.boxes.account import cpu_s
from valor_ray.perf.boxes.load import Work
from valor_ray.perf.boxes.ours import Side, check_all, numbered
from valor_ray.perf.judge_bench import mock_gateway
from valor_ray.perf.judge_load import judge_config
from valor_ray.perf.mock_judge import MockJudge

LATENCY_S = 0.3
WARM_S = 4.0  # before counting
PICTURES_EACH = 4  # at a time for each gateway: none of them waits for work
TIMEOUT_S = 60.0


def measure_gateways(work: Sequence[Work], args: Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Images a second over handles, and calls a second with so many gateways, each with as many calls in flight."""
    rates: dict[int, dict[str, float]] = {}
    config = Config.load()
    with running_ray(config, say):
        say("the gateway as a Serve deployment")
        vlm = judge_config("http://mock", timeout_s=TIMEOUT_S)
        with (
            MockJudge(median_s=LATENCY_S, sigma=0) as mock,
            mock_gateway(mock, "vlm", timeout_s=TIMEOUT_S) as judge,
        ):
            side = Side(judge, config.grounding, vlm)
            asyncio.run(check_all(side, numbered(work[:2], -1), mock, 2))  # the first calls start things
            served = asyncio.run(check_all(side, work, mock, args.at_a_time))
        for gateways in args.gateways:
            say(f"{gateways} gateway(s), {args.in_flight} calls in flight each, for {args.seconds} s")
            limits = {"max_in_flight": args.in_flight, "first_in_flight": args.in_flight, "hedge": False}
            with (
                MockJudge(median_s=LATENCY_S, sigma=0) as mock,
                mock_gateway(mock, "vlm", replicas=gateways, timeout_s=TIMEOUT_S, **limits) as judge,
            ):
                side = Side(judge, config.grounding, vlm)
                rates[gateways] = asyncio.run(_rate(side, work, mock, gateways, args.seconds))
    first = min(rates)
    return {
        "served": served.to_record(),
        "gateways": {str(each): figures for each, figures in rates.items()},
        "scaling": {
            str(each): round(
                rates[each]["calls_per_second"] * first / (each * rates[first]["calls_per_second"]), 3
            )
            for each in rates
            if each != first
        },
        "in_flight_each": args.in_flight,
        "most_calls_per_second_each": round(args.in_flight / LATENCY_S, 2),
    }


async def _rate(
    side: Side, work: Sequence[Work], mock: MockJudge, gateways: int, seconds: float
) -> dict[str, float]:
    """While pictures enough are being checked, after a warm-up: what the endpoint saw, and what it took here."""
    end = time.monotonic() + WARM_S + seconds

    def ahead() -> Iterator[Work]:
        for number in count():
            for each in numbered(work, number):
                if time.monotonic() > end:
                    return
                yield each

    checking = asyncio.create_task(check_all(side, ahead(), mock, PICTURES_EACH * gateways))
    await asyncio.sleep(WARM_S)
    before, started, cpu = (await asyncio.to_thread(mock.stats))["calls"], time.monotonic(), cpu_s(mock.pid)
    await asyncio.sleep(max(0.0, end - time.monotonic()))
    after, ended, spent = (
        (await asyncio.to_thread(mock.stats))["calls"],
        time.monotonic(),
        cpu_s(mock.pid) - cpu,
    )
    figures = await checking
    if after == before:
        raise ServiceError(
            f"No call came in {seconds:g} s: is the machine overloaded? Give a longer --seconds."
        )
    calls = (after - before) / (ended - started)
    per_image = figures.calls / figures.pictures
    return {
        "calls_per_second": round(calls, 2),
        "images_per_second": round(calls / per_image, 3),
        "cpu_s_per_image": round(spent / ((after - before) / per_image), 3),
    }
