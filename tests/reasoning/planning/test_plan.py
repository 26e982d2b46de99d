"""`--dry-run`: what a run would do, worked out by hand."""

from __future__ import annotations

import pytest

from valor_ray.config.tree import Config
from valor_ray.judges.gateway.answers import Taken
from valor_ray.reasoning.planning.plan import plan
from valor_ray.records import Query

QUERIES = [Query(f"q{i}", f"How many balls are on table {i}?") for i in range(10)]


def settings(*overrides: str) -> Config:
    return Config.load(
        "local",
        [
            "grpo.steps=6", "grpo.save_every=2", "grpo.prompts=2", "grpo.samples=2", "grpo.micro_batch=2",
            "policy.replicas=2", *overrides,
        ],
    )  # fmt: skip


PLANNED = (
    "grpo.steps=5", "grpo.prompts=4", "grpo.samples=3", "grpo.micro_batch=2", "grpo.workers=2", "grpo.reserve=0.5",
    "reward.audit_every=20", "judge.price_in=10", "judge.price_out=100",
)  # fmt: skip


def test_plan_by_hand() -> None:
    planned = plan(settings(*PLANNED), QUERIES, memory=False)
    said = planned.pop("cost_assumes")
    assert planned == {
        "queries": 10,
        "steps": 5,
        "epochs": 2.0,  # 5 x 4 / 10
        "replies": 60,  # 5 x 4 x 3
        "replies_with_reserve": 90,  # 5 x (4 + 2) x 3
        "micro_batches_per_step": 3,  # 12 / (2 x 2)
        "judge_calls": 240,  # 4 judged heads
        "judge_calls_at_most": 372,  # 4 x (90 + 3 canaries)
        "judge_cost_usd": 4.8,  # 240 x (1200 x 10 + 80 x 100) / 1e6
        "checkpoints": 3,  # after 2, 4, 5
        "policy_replicas": 2,
        "learner_processes": 2,
    }
    assert "1200" in said and "80" in said


def test_micro_batches_by_tokens_are_as_many_as_the_replies_make() -> None:
    planned = plan(
        settings(*PLANNED, "grpo.micro_batch=5", "grpo.micro_batch_tokens=900"), QUERIES, memory=False
    )
    assert planned["micro_batches_per_step"] is None and planned["replies"] == 60


TEXT_HEADS = ("logic", "attribute", "spatial", "adherence")


def test_plan_of_scene_tests_counts_their_calls_by_questions() -> None:
    in_their_place = [*(f"reward.{head}=0" for head in TEXT_HEADS), "reward.scenes=0.9"]
    planned = plan(settings(*PLANNED, *in_their_place), QUERIES)
    assert planned["judge_calls"] == 60  # 3 a question: 5 steps x 4
    assert planned["judge_calls_at_most"] == 99  # 3 x (5 x (4 + 2) + 3 canaries)
    beside = plan(settings(*PLANNED, "reward.logic=0", "reward.scenes=0.3"), QUERIES)
    assert beside["judge_calls"] == 3 * 60 + 60 and beside["judge_calls_at_most"] == 3 * 93 + 99


def test_plan_does_not_call_a_judge_without_prices_free() -> None:
    planned = plan(settings("judge.base_url=https://host/v1"), QUERIES)
    assert planned["judge_cost_usd"] is None and "judge.price_in" in planned["cost_assumes"]
    assert plan(settings(), QUERIES)["judge_cost_usd"] == 0


def test_plan_without_steps_takes_the_epochs() -> None:
    planned = plan(settings("grpo.steps=null", "grpo.epochs=3"), QUERIES)
    assert (planned["steps"], planned["epochs"]) == (15, 3.0)


def test_the_cost_follows_what_this_judge_has_really_taken_and_its_limit_is_named() -> None:
    config = settings(*PLANNED, "judge.base_url=http://host/v1", "judge.max_cost_usd=0.01")
    before = plan(config, QUERIES, memory=False)
    after = plan(config, QUERIES, memory=False, taken=Taken(40, 2400.0, 160.0))
    assert after["judge_cost_usd"] == pytest.approx(2 * before["judge_cost_usd"], abs=0.02)
    assert (
        "2400 + 160 tokens" in after["cost_assumes"] and "40 answers of this judge" in after["cost_assumes"]
    )
    assert "judge.max_cost_usd=0.01" in after["cost_assumes"]
