"""How long a step takes, worked out by hand."""

from __future__ import annotations

import pytest

from valor_ray.config.tree import Config
from valor_ray.reasoning.planning.sizing.constants import read_constants
from valor_ray.reasoning.planning.sizing.stages import (
    EngineSpeed,
    Load,
    StageSeconds,
    engine_speed,
    judging_s,
    learner_share,
    learning_s,
    publication_s,
    sampling_s,
)

KNOWN = read_constants("h100")
SHAPE = KNOWN.shape("Qwen/Qwen3-8B")
LOAD = Load(64, 5, 2000, 600, 2000)


def gpu(*overrides: str) -> Config:
    return Config.load("gpu", overrides)


@pytest.mark.parametrize(
    ("lag", "seconds", "bound"),
    [
        (0, 10 + 4 + 30 + 6, "latency"),  # one after another
        (1, 30 + 6, "learning"),  # the learner never waits
        (3, 30 + 6, "learning"),
    ],
)
def test_a_step_takes_its_longest_stage_and_publication(lag: int, seconds: float, bound: str) -> None:
    stages = StageSeconds(sampling=10, longest=8, judging=4, learning=30, publication=6)
    bounds = stages.bounds(lag)
    assert stages.step(lag) == seconds and max(bounds, key=lambda name: bounds[name]) == bound


def test_few_steps_in_work_bound_a_step_by_its_longest_reply() -> None:
    stages = StageSeconds(sampling=10, longest=60, judging=4, learning=30, publication=6)
    assert stages.step(1) == (60 + 4 + 30 + 6) / 2


def test_sampling_shrinks_with_replicas_until_seats_stay_empty() -> None:
    speed = EngineSpeed(seats=80, fixed_s=0.01)
    seconds = [sampling_s(LOAD, replicas, speed)[0] for replicas in (1, 2, 4, 8)]
    # 320 replies of 600 tokens at .01 s each: four waves, two, one, and one that is half empty
    assert seconds == pytest.approx([24.0, 12.0, 6.0, 6.0])


def test_an_engine_is_bound_by_memory_and_its_seats_by_the_cache() -> None:
    speed = engine_speed(SHAPE, gpu("policy.max_num_seqs=null"), LOAD, KNOWN)
    assert speed is not None and speed.seats == 128
    wide = engine_speed(SHAPE, gpu("policy.max_num_seqs=1000"), LOAD, KNOWN)
    part = engine_speed(SHAPE, gpu("policy.gpu_memory_utilization=0.5"), LOAD, KNOWN)
    assert (
        wide is not None and part is not None and 128 < wide.seats < 1000 and part.seats < 128
    )  # what the cache holds
    assert speed.fixed_s == pytest.approx(2 * 8.19e9 / (0.6 * 3.35e12), rel=0.01)
    assert 3000 < 128 / speed.token_s(128) < 8000  # tokens a second; nobody has measured it here
    l4 = read_constants("l4")
    small = engine_speed(SHAPE, gpu(), LOAD, l4)
    assert small is not None and small.seats < 10  # 22.5 GiB hold the weights and little else
    assert engine_speed(SHAPE, gpu("policy.num_gpus=0.5"), LOAD, l4) is None


def test_learning_halves_with_twice_the_processes_while_layers_come_in_time() -> None:
    four, eight = (learning_s(SHAPE, gpu(f"grpo.workers={n}"), LOAD, KNOWN) for n in (4, 8))
    assert four == pytest.approx(2 * eight)
    far = learning_s(SHAPE, gpu("grpo.workers=16", "grpo.micro_batch=1"), LOAD, KNOWN)
    # over the network 20 micro-batches gather 10 bytes a parameter each
    assert far == pytest.approx(20 * 10 * SHAPE.parameters * 15 / 16 / (0.6 * 50e9))


def test_a_learner_reaches_more_of_the_peak_with_a_larger_model() -> None:
    assert learner_share(300_000_000, KNOWN) == 0.04 and learner_share(10**11, KNOWN) == 0.25
    assert 0.04 < learner_share(2 * 10**9, KNOWN) < 0.25


def test_judging_is_bound_by_the_account_or_by_calls_in_flight() -> None:
    calls = 4 * 320
    assert judging_s(gpu("judge.requests_per_minute=600"), LOAD, KNOWN) == pytest.approx(calls / 10 + 3)
    assert judging_s(gpu("judge.max_in_flight=30"), LOAD, KNOWN) == pytest.approx(calls / 10 + 3)
    none = [f"reward.{head}=0" for head in ("logic", "attribute", "spatial", "adherence")]
    assert judging_s(gpu(*none, "reward.syntax=1"), LOAD, KNOWN) == 0


def test_weights_go_faster_without_a_disk() -> None:
    by_files = publication_s(SHAPE, gpu(), KNOWN)
    assert by_files == pytest.approx(16.38 / 0.85 + 16.38, rel=0.01)
    assert publication_s(SHAPE, gpu("policy.weight_transfer=nccl"), KNOWN) < by_files / 10
