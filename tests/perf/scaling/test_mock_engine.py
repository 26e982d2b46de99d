"""The engine that takes time: as long as it says, with replies that rollouts take for real ones."""

from __future__ import annotations

import asyncio
import time

import pytest

from valor_ray.perf.scaling.mock_engine import MockEngine, MockSpeed, sampler_of
from valor_ray.perf.scaling.rollouts import Shape
from valor_ray.program.parse import parse_reply
from valor_ray.reasoning.planning.sizing.stages import Load, sampling_s
from valor_ray.records import Reply, Sampling


def sampled(speed: MockSpeed, calls: int = 1, questions: int = 4) -> tuple[list[list[list[Reply]]], float]:
    async def all_calls() -> list[list[list[Reply]]]:
        engine = MockEngine(speed, "one")
        asked = [f"Question {n}?" for n in range(questions)]
        drawn = Sampling(1.0, 1.0, 50)
        return await asyncio.gather(
            *(engine.sample(asked, n=2, seed=seed, sampling=drawn) for seed in range(calls))
        )

    start = time.monotonic()
    return asyncio.run(all_calls()), time.monotonic() - start


def test_replies_are_well_formed_different_and_carry_what_the_learner_wants() -> None:
    (groups,), _ = sampled(MockSpeed(8, 1e6, 20))
    replies = [reply for group in groups for reply in group]
    assert [len(group) for group in groups] == [2, 2, 2, 2]
    assert all(parse_reply(reply.text).well_formed for reply in replies)
    assert len({reply.text for reply in replies}) == 8 and {sampler_of(reply.text) for reply in replies} == {
        "one"
    }
    assert all(len(reply.token_ids) == len(reply.logprobs) == 20 for reply in replies)
    assert all(sum(count for _, count in reply.versions) == 20 for reply in replies)


def test_samples_are_no_longer_than_asked() -> None:
    (groups,), _ = sampled(MockSpeed(8, 1e6, 400))
    assert len(groups[0][0].token_ids) == 50


@pytest.mark.parametrize(("seats", "waves"), [(16, 1), (8, 2), (4, 4)])
def test_calls_share_the_seats_and_take_as_long_as_the_planner_reckons(seats: int, waves: int) -> None:
    """Two calls of 8 sequences, each of 50 tokens in 0.1 s. Never sooner; later only where the machine is busy."""
    speed = MockSpeed(seats, 500.0, 50)
    _, seconds = sampled(speed, calls=2)
    predicted, longest = sampling_s(Load(8, 2, 0, 50, 50), 1, speed.engine())
    assert predicted == pytest.approx(0.1 * waves) and longest == pytest.approx(0.1)
    assert seconds >= 0.99 * predicted


def test_the_planner_predicts_four_times_the_sampling_of_one_replica_for_the_bench() -> None:
    speed = MockSpeed(16, 200.0, 200)
    one, four = (sampling_s(Shape().load(speed), replicas, speed.engine())[0] for replicas in (1, 4))
    assert one / four == pytest.approx(4.0)


def test_steps_of_the_bench_are_not_refilled() -> None:
    config = Shape().config(4)
    assert config.grpo.reserve == 0 and config.policy.replicas == 4 and config.grpo.shards == 16
