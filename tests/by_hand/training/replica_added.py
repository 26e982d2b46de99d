"""By hand, until it has passed ten times: a policy replica that comes in mid-run takes work, and nothing is sampled
twice; engines are mocks.

    python -m pytest -m slow tests/by_hand/training/replica_added.py
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from train_runs import records

from deployments.ray_data import roomy
from deployments.serving import running_ray
from valor_ray.config.tree import Config
from valor_ray.perf.scaling.mock_engine import MockSpeed
from valor_ray.perf.scaling.mock_parts import deploy_policy, mock_parts
from valor_ray.perf.scaling.rollouts import Shape, Taken, take

SHAPE = Shape(prompts=16, samples=4, shards=8)
SPEED = MockSpeed(seats=8, tokens_per_s=400.0, reply_tokens=200)  # 16 replies a second: a step takes 4 s


def rate(taken: list[Taken], start: float, end: float) -> float:
    """Rollouts a second."""
    return sum(len(one.outcome.rollouts) for one in taken if start < one.at <= end) / (end - start)


@pytest.mark.slow  # a Ray, and minutes of waiting for engines that do nothing
@pytest.mark.timeout(400)
def test_a_replica_added_in_mid_run_takes_work_and_nothing_is_sampled_twice(tmp_path: Path) -> None:
    steps, ready = 16, list[float]()

    def add() -> None:
        deploy_policy(tmp_path, SPEED, 2)
        ready.append(time.monotonic())

    adding = threading.Thread(target=add)
    with running_ray(roomy(Config.load(), 16), print), mock_parts(tmp_path, SPEED, 1):
        taken = []
        for one in take(tmp_path, SHAPE.config(1), steps):
            taken.append(one)
            if one.outcome.step == 4 and adding.ident is None:
                adding.start()
        adding.join()
    alone = {name for one in taken if one.outcome.step <= 2 for name in one.samplers()}
    came = [one.at for one in taken if set(one.samplers()) - alone]
    assert len(alone) == 1 and came, "the second replica has sampled nothing"
    assert min(came) - ready[0] < 10
    before = rate(taken, taken[7].at, ready[0])
    after = rate(taken, min(came) + 4, taken[-1].at)
    assert after > 1.3 * before, (before, after)
    rows = records(tmp_path / "rollouts.jsonl")
    assert len({row["rollout_id"] for row in rows}) == len(rows) == steps * SHAPE.prompts * SHAPE.samples
    assert len({row["reply"] for row in rows}) == len(rows)  # the mock never writes the same twice
    assert len({(one.outcome.step, one.outcome.shard) for one in taken}) == len(taken) == steps * SHAPE.shards
