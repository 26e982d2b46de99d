"""By hand: Serve adds gateways, detectors and depth models while calls wait (`max_replicas`), on a local Ray.

    python tests/by_hand/service/replicas_scale.py judge|detector|depth [--seconds 60]

One to two minutes each. Prints JSON: when each replica came, calls a second before and after (the judge's: HTTP calls
at an endpoint that takes a second); exit code 1 when none came. Detector and depth model compute on this machine's CPU:
more replicas bring no more than it has cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import serve

from deployments.app import eye_apps, eye_name, gateway_name
from deployments.ports import RemoteDepth, RemoteDetector, RemoteJudge
from deployments.ray_data import roomy
from deployments.running.readiness import wait_ready
from deployments.serving import deploy_gateway, running_ray
from valor_ray.config.tree import Config
from valor_ray.perf.judge_load import reply_requests
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.perf.serve import PHRASES, scenes

MOST = {"judge": 4, "detector": 2, "depth": 2}  # replicas
AT_A_TIME = {
    "judge": 40,
    "detector": 40,
    "depth": 20,
}  # callers; a replica takes 8, 16 and 8 before another one helps
_CALLS = 4  # of a reply


@contextmanager
def load(
    part: str, folder: Path, config: Config
) -> Iterator[tuple[str, Callable[[int], Awaitable[Any]], int]]:
    """Name of the app, a call of it (given a number), and how many calls that counts for."""
    if part == "judge":
        with MockJudge(median_s=1, sigma=0) as mock:
            judge = config.judge.model_copy(
                update={
                    "base_url": mock.base_url, "api_key_env": None, "hedge": False, "first_in_flight": 8,
                    "max_in_flight": 8 * _CALLS, "max_replicas": MOST[part],
                }
            )  # fmt: skip
            gateway = RemoteJudge(deploy_gateway(judge, folder, "judge"))
            yield gateway_name(str(folder), "judge"), lambda n: gateway.ask(reply_requests(n)), _CALLS
        return
    section = getattr(config, part).model_copy(update={"max_replicas": MOST[part], "cache_entries": 0})
    name, pictures = eye_name(part, str(folder)), scenes(64, 256)
    serve.start(
        proxy_location="Disabled", logging_config={"log_level": "WARNING", "enable_access_log": False}
    )
    app = eye_apps(config.model_copy(update={part: section}))[part]
    serve.run_many([serve.RunTarget(app, name=name, route_prefix=None)], wait_for_applications_running=False)
    wait_ready(print, name, (part,))
    handle = serve.get_deployment_handle(part, name)
    if part == "detector":
        detector = RemoteDetector(handle)
        yield name, lambda n: detector.detect(pictures[n % 64], PHRASES), 1
    else:
        depth = RemoteDepth(handle)
        yield name, lambda n: depth.depth(pictures[n % 64]), 1


def running(app: str, part: str) -> int:
    """Replicas that work."""
    return serve.status().applications[app].deployments[part].replica_states.get("RUNNING", 0)


async def measured(
    app: str, part: str, call: Callable[[int], Awaitable[Any]], seconds: float
) -> dict[str, Any]:
    """(s, calls done, replicas), a look a second, while so many callers call."""
    begun, done, number = time.monotonic(), 0, 0
    looks: list[tuple[float, int, int]] = []

    async def caller() -> None:
        nonlocal done, number
        while time.monotonic() - begun < seconds:
            number += 1
            await call(number)
            done += 1

    callers = [asyncio.create_task(caller()) for _ in range(AT_A_TIME[part])]
    while time.monotonic() - begun < seconds:
        await asyncio.sleep(1)
        looks.append((time.monotonic() - begun, done, await asyncio.to_thread(running, app, part)))
    await asyncio.gather(*callers)
    most = max(replicas for _, _, replicas in looks)
    came = {n: round(next(at for at, _, replicas in looks if replicas >= n), 1) for n in range(2, most + 1)}
    return {
        "replicas_after_s": came,
        "before": rate([look for look in looks if look[2] == 1]),
        "after": rate([look for look in looks if look[2] == most and look[0] > came.get(most, 0) + 3]),
    }


def rate(looks: list[tuple[float, int, int]]) -> float:
    """Calls a second."""
    if len(looks) < 2:
        return 0.0
    return (looks[-1][1] - looks[0][1]) / (looks[-1][0] - looks[0][0])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=MOST)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_ray(roomy(Config.load(), 16), print),
        load(options.part, Path(folder), Config.load()) as (app, call, count),
    ):
        found = asyncio.run(measured(app, options.part, call, options.seconds))
    for name in ("before", "after"):
        found[name] = round(found[name] * count, 1)
    print(json.dumps({"part": options.part, **found, "load": round(os.getloadavg()[0], 1)}), flush=True)
    return 0 if found["replicas_after_s"] else 1


if __name__ == "__main__":
    sys.exit(main())
