"""The figures of a step: importance ratios over the tokens that count, rewards over the rollouts that have them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from rollout_of import rollout_of

from valor_ray.reasoning.learner.ports import StepBatch
from valor_ray.reasoning.learner.step_figures import (
    Gap,
    TokenFigures,
    rollout_figures,
    step_token_figures,
    token_figures,
    widest,
)
from valor_ray.records import Head, Rollout

CLIP, DELTA = 0.2, 4.0


def figures_of(
    learner: list[list[float]],
    behaviour: list[list[float]],
    advantages: list[float],
    mask: list[list[int]] | None = None,
    fresh: list[bool] | None = None,
    reference: list[list[float]] | None = None,
) -> TokenFigures:
    then = torch.tensor(behaviour)
    batch = {
        "old_per_token_logps": then,
        "completion_mask": torch.ones_like(then).long() if mask is None else torch.tensor(mask),
        "advantages": torch.tensor(advantages),
        "fresh": torch.tensor([True] * len(advantages) if fresh is None else fresh),
    }
    if reference is not None:
        batch["ref_per_token_logps"] = torch.tensor(reference)
    now = torch.tensor(learner)
    return token_figures(now, 0.5 - now, batch, CLIP, DELTA)


@pytest.mark.parametrize(
    ("times", "advantage", "cut"),
    [
        (1.0, 1.0, 0.0),
        (1.19, 1.0, 0.0),
        (1.21, 1.0, 1.0),  # already likelier by more than the clip, and to be made likelier still
        (1.21, -1.0, 0.0),  # may be made less likely again
        (0.79, -1.0, 1.0),
        (0.79, 1.0, 0.0),
        (0.81, -1.0, 0.0),
        (3.9, -1.0, 0.0),
        (4.1, -1.0, 1.0),  # no token may be all of a step
        (5.0, 0.0, 0.0),  # an advantage of 0 has no gradient that a clip could cut
    ],
)
def test_clipped_are_tokens_whose_gradient_the_loss_cuts_off(
    times: float, advantage: float, cut: float
) -> None:
    made = figures_of([[math.log(times) - 2]], [[-2.0]], [advantage])
    assert made.clip_share == cut and made.tokens == 1
    assert made.ratio_mean == made.ratio_max == pytest.approx(times, rel=1e-5)
    assert made.gap is not None and made.gap.largest == pytest.approx(abs(math.log(times)), abs=1e-5)


def test_masked_tokens_do_not_count() -> None:
    made = figures_of([[-1.0, 50.0]], [[-1.0, 0.0]], [1.0], mask=[[1, 0]], reference=[[-2.0, 0.0]])
    k3 = math.exp(-1) + 1 - 1
    assert made == TokenFigures(1, 1.0, 1.0, 0.0, entropy=1.5, kl=pytest.approx(k3))
    assert made.gap == Gap(0.0, 0.0, 0.0)


def test_without_a_reference_there_is_no_divergence() -> None:
    assert figures_of([[-1.0]], [[-1.0]], [1.0]).kl is None
    assert step_token_figures([figures_of([[-1.0]], [[-1.0]], [1.0])]).kl is None


EMPTY = TokenFigures(0, 0.0, 0.0, 0.0, 0.0, 0.0)  # a micro-batch that fills a step up


def test_micro_batch_without_tokens_has_no_figures() -> None:
    assert figures_of([[-1.0]], [[0.0]], [0.0], mask=[[0]], reference=[[0.0]]) == EMPTY


def test_gap_is_that_of_fresh_samples_alone() -> None:
    learner, behaviour = [[-1.5, -1.0], [-9.0, -1.0]], [[-1.0, -1.0], [-1.0, -1.0]]
    first = figures_of(learner, behaviour, [1, 1], fresh=[True, False]).gap
    assert first is not None and (first.mean, first.largest) == pytest.approx((0.25, 0.5))
    assert figures_of(learner, behaviour, [1, 1], fresh=[False, False]).gap is None
    both = figures_of(learner, behaviour, [1, 1]).gap
    assert both is not None and (both.mean, both.largest) == pytest.approx((8.5 / 4, 8))


def test_one_token_in_a_thousand_moves_the_largest_gap_alone() -> None:
    sizes = np.full(1000, 0.01, np.float32)
    sizes[0] = 5.0
    gap = Gap.of(sizes)
    assert gap is not None
    assert (gap.mean, gap.p99, gap.largest) == pytest.approx((0.015, 0.01, 5.0), rel=1e-3)
    assert widest([gap, None, Gap(0.2, 0.3, 0.4)]) == Gap(0.2, 0.3, pytest.approx(5.0))
    assert widest([None]) is None and Gap.of(np.zeros(0)) is None


def test_step_is_the_mean_over_tokens_and_the_extremes_over_micro_batches() -> None:
    parts = [
        TokenFigures(10, 1.0, 1.2, 0.1, entropy=2.0, kl=0.4),
        TokenFigures(30, 2.0, 3.0, 0.5, entropy=1.0, kl=0.8, gaps=np.array([0.25, 0.05])),
        EMPTY,
    ]
    made = step_token_figures(parts)
    assert made == TokenFigures(40, 1.75, 3.0, pytest.approx(0.4), 1.25, pytest.approx(0.7))
    assert made.gap is not None and (made.gap.mean, made.gap.largest) == pytest.approx((0.15, 0.25))


def test_step_without_tokens_has_ratio_one_and_no_gap() -> None:
    assert step_token_figures([]) == TokenFigures(0, 1.0, 1.0, 0.0, 0.0, None)
    assert step_token_figures([EMPTY]) == TokenFigures(0, 1.0, 1.0, 0.0, 0.0, 0.0)
    assert step_token_figures([EMPTY]).gap is None


# rollouts


def rollout(value: float | None, tokens: int = 2, **heads: bool | None) -> Rollout:
    return rollout_of(value=value, token_ids=(0,) * tokens, calls=3, cache_hits=1, cost_usd=0.25, **heads)


def figures(rows: list[Rollout], lags: list[int]) -> dict[str, Any]:
    return rollout_figures(StepBatch(1, [], rows, {"groups": 7}, lags, 0.0, 0.0))


def test_replies_that_the_limit_ended_are_a_share_of_all() -> None:
    assert figures([rollout_of(finish_reason="length"), *[rollout(None)] * 3], [0])["cut"] == 0.25


def test_figures_of_a_step_by_hand() -> None:
    made = figures(
        [
            rollout(1.0),
            rollout(0.5, 4, logic=False),
            rollout(0.0, 6, format=False, logic=None, syntax=None),
            rollout(None, 8, logic=None),
        ],
        [0, 1, 0],
    )
    assert made["reward"] == 0.5 and made["all_heads"] == pytest.approx(1 / 3, abs=1e-6)
    assert made["cut"] == 0 and made["well_formed"] == 0.75 and made["heads"]["format"] == 0.75
    assert made["heads"]["logic"] == 0.5  # of the two that were judged: a missing verdict is no zero
    assert made["heads"]["syntax"] == 1.0
    assert (made["lag_mean"], made["lag_max"]) == (pytest.approx(1 / 3, abs=1e-6), 1)
    assert (made["reply_tokens"], made["judge_calls"], made["cache_hits"]) == (5, 12, 4)
    assert made["judge_cost_usd"] == 1.0 and made["groups"] == 7


def test_figures_of_scenes_by_hand() -> None:
    """Two groups: one whose question has no scenes, one with a reply that its scenes leave undecided."""
    unasked = dict.fromkeys(("logic", "attribute", "spatial", "adherence"))
    left_out = [rollout_of(group=0, sample=n, left_out=("scenes",), calls=n * 3, **unasked) for n in range(2)]
    tested = [
        rollout_of(group=1, scenes=True, calls=3, reasons={"scenes": "all"}, **unasked),
        rollout_of(group=1, sample=1, scenes=False, calls=0, reasons={"scenes": "scene 2"}, **unasked),
        rollout_of(group=1, sample=2, value=None, calls=1, reasons={"scenes": "undecided"}, **unasked),
        rollout_of(group=1, sample=3, value=0.0, format=False, syntax=None, calls=0, reasons={}, **unasked),
    ]
    made = figures([*left_out, *tested], [])
    assert made["heads"]["scenes"] == 0.5 and made["heads"]["logic"] is None
    assert made["scenes_left_out"] == 0.5 and made["scenes_missing"] == pytest.approx(1 / 6, abs=1e-6)
    assert made["judge_calls_per_reply"] == pytest.approx(7 / 6, abs=1e-6)
    without = figures([rollout_of(), rollout_of(sample=1)], [])
    assert without["scenes_left_out"] is None and without["scenes_missing"] is None
    assert made["all_heads"] == 0.6  # heads that nobody asked, or that do not apply, are no objection


def test_where_nothing_is_known_stands_null() -> None:
    made = figures([rollout(None, **dict.fromkeys(head.value for head in Head))], [])
    assert made["reward"] is None and made["all_heads"] is None
    assert (made["lag_mean"], made["lag_max"]) == (None, None)
    assert set(made["heads"].values()) == {None}
    assert figures([], [])["reply_tokens"] is None
