"""`valor bench policies`: rollouts a second with 1, 2, 4 policy replicas of a mock engine, over the real path."""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployments.ray_data import roomy
from deployments.serving import running_ray
from valor_ray.config.tree import Config
from valor_ray.errors import ServiceError
from valor_ray.perf.scaling.mock_engine import MockSpeed
from valor_ray.perf.scaling.mock_parts import mock_parts
from valor_ray.perf.scaling.rollouts import Shape, take
from valor_ray.perf.scaling.spent import Snapshot, Spent, bend, snapshot, spent
from valor_ray.reasoning.planning.sizing.stages import sampling_s
from valor_ray.reasoning.training.schedule import shards_of

Say = Callable[[str], None]
SEATS, REPLY_TOKENS = 16, 200
TARGET = 3.5  # of the ratio of 4 to 1
_AT_ONCE = MockSpeed(seats=4096, tokens_per_s=1e7, reply_tokens=REPLY_TOKENS)  # all but no time
_MOST_PER_S = 400  # rollouts: more steps than that are not laid out
_WARM = 2  # steps before anything is counted


def run(args: Namespace, say: Say) -> dict[str, Any]:
    """{ours, baseline, ratio, target, predicted_ratio, throughput, scaling, uncapped, ...}: most replicas to fewest."""
    speed, shape = MockSpeed(SEATS, args.tokens_per_s, REPLY_TOKENS), Shape()
    figures: dict[int, dict[str, Any]] = {}
    with running_ray(roomy(Config.load(), 16), say):
        for replicas in args.replicas:
            say(
                f"{replicas} replica(s), {SEATS} sequences each, {REPLY_TOKENS / args.tokens_per_s:g} s a reply"
            )
            figures[replicas] = _measured(
                shape, speed, replicas, args.seconds, "policy replicas: their seats"
            )
        say(f"{args.replicas[-1]} replicas that take no time")
        uncapped = _measured(
            shape, _AT_ONCE, args.replicas[-1], args.seconds, "no CPU: turns, and calls between processes"
        )
    first, last = args.replicas[0], args.replicas[-1]
    rates = {replicas: each["rollouts_per_second"] for replicas, each in figures.items()}
    load = shape.load(speed)
    seconds = {replicas: sampling_s(load, replicas, speed.engine())[0] for replicas in figures}
    return {
        "ours": figures[last],
        "baseline": figures[first],
        "ratio": round(rates[last] / rates[first], 2),
        "target": TARGET,
        "predicted_ratio": round(seconds[first] / seconds[last], 2),
        "throughput": {str(replicas): rate for replicas, rate in rates.items()},
        "predicted": {str(replicas): round(load.replies / each, 2) for replicas, each in seconds.items()},
        "scaling": {str(r): round(rates[r] * first / (r * rates[first]), 3) for r in figures if r != first},
        "by_replicas": {str(replicas): each for replicas, each in figures.items()},
        "uncapped": uncapped,
        "engine": {"seats": SEATS, "tokens_per_s": args.tokens_per_s, "reply_tokens": REPLY_TOKENS},
        "step": {
            "prompts": shape.prompts,
            "samples": shape.samples,
            "shards": shape.shards,
            "max_lag": shape.max_lag,
        },
        "path": "Ray Data workers, buffer, Serve handles, sandbox, records; engine and judge are stand-ins, no learner",
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def _measured(
    shape: Shape, speed: MockSpeed, replicas: int, seconds: float, otherwise: str
) -> dict[str, Any]:
    """Of whole steps after the first ones, for about so many seconds."""
    config = shape.config(replicas)
    capped = replicas * speed.seats * speed.tokens_per_s / speed.reply_tokens
    step = shape.prompts * shape.samples
    steps = _WARM + 2 + int(seconds * min(_MOST_PER_S, 1.2 * capped) / step) + shape.max_lag + 1
    with tempfile.TemporaryDirectory() as folder, mock_parts(Path(folder), speed, replicas):
        return _rate(Path(folder), config, steps, seconds, otherwise)


def _rate(run: Path, config: Config, steps: int, seconds: float, otherwise: str) -> dict[str, Any]:
    before: Snapshot | None = None
    count, ended, by_replica = 0, 0.0, Counter[str]()
    coming = take(run, config, steps)
    for number, taken in enumerate(coming, 1):
        if before is None:
            if number >= _WARM * shards_of(config):
                before = snapshot()
            continue
        count += len(taken.outcome.rollouts)
        by_replica.update(taken.samplers())
        ended = taken.at
        if taken.at - before.at >= seconds:
            break
    if before is None or ended <= before.at:
        raise ServiceError("No rollout came in time: is the machine overloaded? Give a longer --seconds.")
    used: Spent = spent(before, snapshot())
    coming.close()
    return {
        "rollouts_per_second": round(count / (ended - before.at), 2),
        "rollouts": count,
        "seconds": round(ended - before.at, 1),
        "share_by_replica": sorted((round(each / count, 3) for each in by_replica.values()), reverse=True),
        **used.record(count, "rollout"),
        "bound_by": bend(used, otherwise),
    }
