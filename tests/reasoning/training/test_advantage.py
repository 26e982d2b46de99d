"""Group-normalised advantages, and which samples have no part in training."""

from __future__ import annotations

import pytest

from valor_ray.reasoning.training.advantage import Use, advantages


def test_advantages_are_centred_and_of_unit_deviation() -> None:
    found = [value for _, value in advantages([0.0, 0.5, 1.0, 0.5])]
    assert sum(found) == pytest.approx(0)
    assert found[2] == pytest.approx(0.5 / 0.40825, rel=1e-3)  # deviation of a sample: sqrt(0.5 / 3)


def test_missing_reward_leaves_mean_and_deviation_alone() -> None:
    found = advantages([0.0, None, 1.0, 0.5])
    assert found[1] == (Use.MISSING, None)
    assert [value for _, value in found if value is not None] == [
        value for _, value in advantages([0.0, 1.0, 0.5])
    ]


@pytest.mark.parametrize("rewards", [[0.7, 0.7, 0.7], [0.7, None, 0.7], [0.7, None, None], [0.0, 0.0]])
def test_group_without_variance_is_not_used(rewards: list[float | None]) -> None:
    assert {use for use, _ in advantages(rewards)} <= {Use.EQUAL, Use.MISSING}


def test_rewards_that_differ_by_rounding_only_are_equal() -> None:
    assert advantages([0.1 + 0.2, 0.3])[0][0] is Use.EQUAL
