"""Loss, gradient and update of a stale, clipped step with divergence: the real learner against numpy (hand_grpo)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import checked_step as checked
import hand_grpo as hand
import numpy as np
import pytest
from checked_step import LEARNER, SETTING, START

from valor_ray.records import Rollout

TOLERANCE = 1e-5  # relative; the learner computes in float32, the hand in float64


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hand.write_policy(tmp_path_factory.mktemp("policy"), START)


@pytest.fixture(scope="module")
def one_step(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[checked.Step, checked.Source]:
    source = checked.Source()
    (step,) = checked.run_learner(checked.settings(policy), tmp_path_factory.mktemp("run") / "one", source)
    return step, source


def test_hand_gradient_is_the_slope_of_the_hand_loss() -> None:
    """Central differences at eight numbers of each weight."""
    rows = checked.stale_rows()
    _, gradient = hand.loss_and_gradient(LEARNER, START, rows, SETTING)
    for name, slopes in gradient.items():
        for place in np.argsort(-np.abs(slopes), axis=None)[:8]:
            sides = []
            for by in (1e-6, -1e-6):
                shifted = {key: value.copy() for key, value in LEARNER.items()}
                shifted[name].flat[place] += by
                sides.append(hand.loss_and_gradient(shifted, START, rows, SETTING)[0])
            assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(slopes.flat[place], rel=1e-6)


def test_step_has_every_case_of_the_clip() -> None:
    """Both ends, both signs of the advantage: where the clip takes a token's gradient and where it must not."""
    counts = hand.branch_counts(LEARNER, checked.stale_rows(), SETTING)
    assert min(counts.values()) >= 2 and set(counts) == {
        "inside + kept", "inside - kept", "above + cut", "above - kept", "below + kept", "below - cut",
        "far + cut", "far - cut",
    }  # fmt: skip


def test_loss_and_gradient_of_every_weight_are_those_by_hand(
    one_step: tuple[checked.Step, checked.Source],
) -> None:
    loss, gradient = checked.deviations(one_step[0], checked.stale_rows())
    assert loss < TOLERANCE and gradient < TOLERANCE


@pytest.mark.parametrize("tokens", [1, 40, 10_000])  # a row each; some; all together
def test_micro_batches_by_tokens_have_the_same_loss_and_gradient(
    tokens: int, policy: Path, tmp_path: Path, one_step: tuple[checked.Step, checked.Source]
) -> None:
    config = checked.settings(policy, f"grpo.micro_batch_tokens={tokens}")
    (step,) = checked.run_learner(config, tmp_path / "run", checked.Source())
    loss, gradient = checked.deviations(step, checked.stale_rows())
    assert loss < TOLERANCE and gradient < TOLERANCE
    for figure in ("loss", "grad_norm", "kl", "entropy", "clip_share", "ratio_mean", "ratio_max"):
        assert step.record[figure] == pytest.approx(one_step[0].record[figure], rel=TOLERANCE), figure


class _Examples(checked.Source):
    """The same replies as examples: whoever wrote them, each is to become likelier."""

    def rows(self, step: int) -> list[Rollout]:
        return [replace(row, logprobs=(), advantage=1.0) for row in super().rows(step)]


@pytest.mark.parametrize("cut", ["grpo.micro_batch=2", "grpo.micro_batch_tokens=40"])
def test_rows_without_log_probabilities_are_learnt_by_maximum_likelihood(
    cut: str, policy: Path, tmp_path: Path
) -> None:
    """The gradient is that of -log p a token, each reply's mean, however far the learner is from who wrote them."""
    (step,) = checked.run_learner(checked.settings(policy, cut), tmp_path / "run", _Examples())
    by_the_learner = [
        replace(row, logprobs=tuple(hand.logprobs(LEARNER, row, SETTING.temperature)), advantage=1.0)
        for row in checked.stale_rows()
    ]
    loss, gradient = hand.loss_and_gradient(LEARNER, START, by_the_learner, SETTING)
    assert step.loss == pytest.approx(loss, rel=TOLERANCE)
    assert hand.deviation(gradient, step.gradient) < TOLERANCE
    assert step.record["ratio_max"] == 1 and step.record["clip_share"] == 0


def test_record_has_the_figures_by_hand(one_step: tuple[checked.Step, checked.Source]) -> None:
    rows, record = checked.stale_rows(), one_step[0].record
    now = [hand.logprobs(LEARNER, row, SETTING.temperature) for row in rows]
    back = np.concatenate(
        [hand.logprobs(START, row, SETTING.temperature) - mine for row, mine in zip(rows, now, strict=True)]
    )
    ratio = np.exp(np.concatenate([mine - row.logprobs for row, mine in zip(rows, now, strict=True)]))
    counts = hand.branch_counts(LEARNER, rows, SETTING)
    loss, gradient = hand.loss_and_gradient(LEARNER, START, rows, SETTING)
    assert record["loss"] == pytest.approx(loss, rel=TOLERANCE)
    assert record["grad_norm"] == pytest.approx(hand.norm_of(gradient), rel=TOLERANCE)
    assert record["kl"] == pytest.approx((np.exp(back) - back - 1).mean(), rel=TOLERANCE)
    assert record["ratio_mean"] == pytest.approx(ratio.mean(), rel=TOLERANCE)
    assert record["ratio_max"] == pytest.approx(ratio.max(), rel=TOLERANCE)
    cut = sum(counts[name] for name in counts if name.endswith("cut"))
    assert record["clip_share"] == pytest.approx(cut / counts.total(), rel=TOLERANCE)


def test_gradient_is_scaled_down_to_the_norm_of_the_settings(
    one_step: tuple[checked.Step, checked.Source],
) -> None:
    step, norm = one_step[0], hand.norm_of(one_step[0].gradient)
    assert norm > 1.2 * checked.MOST
    wanted = {name: value * checked.MOST / norm for name, value in step.gradient.items()}
    assert hand.deviation(wanted, step.clipped) < TOLERANCE


def test_gradient_below_that_norm_stays_as_it_is(policy: Path, tmp_path: Path) -> None:
    (step,) = checked.run_learner(
        checked.settings(policy, "grpo.max_grad_norm=10"), tmp_path / "run", checked.Source()
    )
    assert hand.deviation(step.gradient, step.clipped) == 0


def test_first_update_is_that_of_adamw_by_hand(one_step: tuple[checked.Step, checked.Source]) -> None:
    step, source = one_step
    wanted = checked.adam_first(LEARNER, step.clipped)
    moves = {name: value - LEARNER[name] for name, value in wanted.items()}
    made = {name: value - LEARNER[name] for name, value in source.published[1].items()}
    assert hand.deviation(moves, made) < TOLERANCE


class Follows(checked.Source):
    """Its rows are by the weights before the newest, as a buffer with a lag of one hands them out."""

    def rows(self, step: int) -> list[Rollout]:
        return checked.stale_rows(step, self.published[max(0, step - 2)])


def test_three_steps_one_behind_are_those_by_hand(policy: Path, tmp_path: Path) -> None:
    """Nothing of a step is left in the next: not its gradient, micro-batches, or reference."""
    source = Follows()
    config = checked.settings(policy, "grpo.steps=3", "grpo.learning_rate=0.1")
    steps = checked.run_learner(config, tmp_path / "run", source, learner=None)
    assert len(steps) == 3
    for number, step in enumerate(steps, 1):
        loss, gradient = hand.loss_and_gradient(
            source.published[number - 1], START, source.rows(number), SETTING
        )
        assert step.loss == pytest.approx(loss, rel=TOLERANCE, abs=1e-6)  # of step 1 it is nearly 0
        assert hand.deviation(gradient, step.gradient) < TOLERANCE
    assert steps[0].record["clip_share"] == 0 and steps[2].record["clip_share"] > 0.05  # it did get stale
