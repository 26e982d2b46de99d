"""The rule over signals, on records small enough to work out by hand."""

from __future__ import annotations

import pytest

from valor_ray.config.judging import RewardConfig
from valor_ray.stopping.rule import choose, counted

PICTURES = [f"{n // 2}.png" for n in range(10)]
SCENES_ONLY = RewardConfig(logic=0, attribute=0, spatial=0, adherence=0, syntax=0.1, scenes=0.9)


def record(step: int, agreement: float | None, scenes: float | None, text: float | None = 1.0) -> dict:
    return {
        "step": step,
        "agreement": agreement,
        "scenes": scenes,
        "questions": [[agreement, scenes, text]] * 10,
    }


def taken(
    *records: dict, kl: dict | None = None, alarm: str = "", reward: RewardConfig | None = None
) -> dict:
    return choose(records, kl or {}, alarm, reward or RewardConfig(), PICTURES)


def test_the_highest_score_is_taken_and_the_gain_over_the_last_step_told() -> None:
    take = taken(record(0, 0.5, 0.3), record(20, 0.8, 0.6), record(40, 0.9, 0.3))
    assert (take["step"], take["score"], take["by"]) == (20, 0.7, ["agreement", "scenes"])
    assert take["over_last"] == {"gain": 0.1, "ci": [0.1, 0.1]}
    assert "the highest of 3 versions" in take["why"] and "over step 40" in take["why"]
    assert [row["score"] for row in take["signals"]] == [0.4, 0.7, 0.6]


def test_a_policy_that_only_grows_surer_is_held_against_by_the_scene_tests() -> None:
    assert taken(record(0, 0.6, 0.6), record(80, 0.9, 0.2))["step"] == 0


@pytest.mark.parametrize(
    ("kl", "step"), [({20: 0.3, 40: 0.1}, 40), ({20: 0.1, 40: 0.3}, 20), ({}, 20), ({40: 0.2}, 40)]
)
def test_of_equal_scores_the_least_diverged_is_taken(kl: dict, step: int) -> None:
    take = taken(record(0, 0.1, 0.1), record(20, 0.8, 0.6), record(40, 0.8, 0.605), kl=kl)
    assert take["step"] == step and "the least diverged of 2" in take["why"]


def test_the_judge_that_the_reward_does_not_ask_counts_and_after_an_alarm_none() -> None:
    assert counted(RewardConfig(), "") == ("agreement", "scenes")
    assert counted(SCENES_ONLY, "") == ("agreement", "text")
    both = RewardConfig(logic=0.2, syntax=0.1, attribute=0.1, spatial=0.1, adherence=0, scenes=0.5)
    assert counted(both, "") == ("agreement", "scenes")
    assert counted(RewardConfig(), "The logic judge agrees with 3 of 40") == ("agreement",)
    take = taken(record(20, 0.6, 0.9), record(40, 0.7, 0.1), alarm="The logic judge")
    assert take["step"] == 40 and "no judge counts" in take["why"]


def test_what_is_unknown_of_a_question_leaves_the_rest_to_count() -> None:
    take = taken(record(20, None, 0.6), record(40, 0.4, None), record(60, None, None))
    assert [row["score"] for row in take["signals"]] == [0.6, 0.4, 0.0] and take["step"] == 20


def test_the_only_version_is_taken() -> None:
    take = taken(record(40, 0.4, 0.4))
    assert take["step"] == 40 and "the only version" in take["why"]
