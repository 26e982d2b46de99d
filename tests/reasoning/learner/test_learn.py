"""The learner on trl: the silent traps (STACK.md), what stops it, and that it goes on exactly where it stopped."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_run as tiny
import torch

from valor_ray.errors import ConfigError
from valor_ray.models.adapters import Adapters, read_adapters
from valor_ray.models.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from valor_ray.models.vllm.weights import read_weights
from valor_ray.reasoning.learner.learn import check_shape
from valor_ray.reasoning.learner.ports import LearnerLeaves, Leave
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.records import Rollout
from valor_ray.runs.checkpoints import MERGED

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_policy(tmp_path_factory.mktemp("policy"))


def test_fresh_samples_have_ratio_one_and_weights_move(policy: Path, tmp_path: Path) -> None:
    hand = tiny.Hand()
    end, records = tiny.run_learner(tiny.settings(policy), tmp_path, hand)
    assert (end.steps, end.stopped) == (3, None)
    for record in records:
        assert record["ratio_max"] == pytest.approx(1, abs=1e-4)
        assert record["logprob_gap"] < 1e-4
    assert sorted(hand.published) == [0, 1, 2, 3]
    states = [hand.models[step].state_dict() for step in range(4)]
    moves = [tiny.difference(one, other) for one, other in itertools.pairwise(states)]
    assert moves == pytest.approx([1e-3] * 3, rel=0.1)  # AdamW moves the surest number by the rate


def test_stale_samples_are_corrected_by_a_ratio_that_leaves_one(policy: Path, tmp_path: Path) -> None:
    _, records = tiny.run_learner(tiny.settings(policy), tmp_path, tiny.Hand(lag=1))
    assert records[0]["ratio_max"] == pytest.approx(1, abs=1e-4)  # there is nothing older yet
    for record in records[1:]:
        assert abs(record["ratio_max"] - 1) > 1e-3 and record["lag_max"] == 1
        assert record["logprob_gap"] < 1e-4  # of the published weights: stale samples are no gap


def test_rows_without_reward_do_not_matter(policy: Path, tmp_path: Path) -> None:
    """A step of six rows has the loss and gradient of their mean, though the batch is filled up to eight."""

    def six(step: int, rows: list[Rollout]) -> None:
        del rows[3], rows[3]
        rows[:] = [replace(row, advantage=1.0) for row in rows]

    _, records = tiny.run_learner(tiny.settings(policy, "grpo.steps=1"), tmp_path, tiny.Hand(change=six))
    assert records[0]["loss"] == pytest.approx(-1, abs=1e-5)


def test_step_without_useful_rows_moves_nothing(policy: Path, tmp_path: Path) -> None:
    def none(step: int, rows: list[Rollout]) -> None:
        if step == 2:
            rows.clear()

    hand = tiny.Hand(change=none)
    _, records = tiny.run_learner(tiny.settings(policy), tmp_path, hand)
    states = [hand.models[step].state_dict() for step in range(4)]
    assert tiny.difference(states[1], states[2]) == 0
    assert tiny.difference(states[2], states[3]) > 0 and len(records) == 3


def test_killed_learner_goes_on_to_the_same_weights(policy: Path, tmp_path: Path) -> None:
    config = tiny.settings(policy, "grpo.steps=4")
    tiny.run_learner(config, tmp_path / "whole", tiny.Hand())

    class Killed(Exception):
        pass

    def dies(step: int, rows: list[Rollout]) -> None:
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        tiny.run_learner(config, tmp_path / "cut", tiny.Hand(change=dies))
    hand = tiny.Hand()
    end, records = tiny.run_learner(config, tmp_path / "cut", hand)
    assert end.steps == 4 and [record["step"] for record in records] == [3, 4]
    assert min(hand.published) == 2  # the replicas get the checkpoint's weights before anything is sampled
    assert tiny.difference(tiny.weights(tmp_path / "whole"), tiny.weights(tmp_path / "cut")) <= 1e-6


class Taken(tiny.Hand):
    """A machine that is about to be taken when a step is asked for."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def batch(self, step: int) -> Any:
        return Leave() if step == self.step else super().batch(step)


@pytest.mark.parametrize("more", [(), ("grpo.micro_batch_tokens=200",), ("grpo.lora_rank=2",)])
def test_a_learner_that_must_leave_saves_first_and_goes_on_to_the_same_weights(
    policy: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    config = tiny.settings(policy, "grpo.steps=4", "grpo.save_every=100", *more)
    tiny.run_learner(config, tmp_path / "whole", tiny.Hand())
    checkpoints = TrainFolder(tmp_path / "cut").checkpoints
    for step, saved in ((1, 0), (3, 2), (3, 2)):  # no checkpoint of nothing; the last has nothing new to save
        with pytest.raises(LearnerLeaves) as leaves:
            tiny.run_learner(config, tmp_path / "cut", Taken(step))
        assert leaves.value.step == saved == checkpoints.newest()
    assert [record["step"] for record in checkpoints.metrics(2)] == [1, 2]
    end, records = tiny.run_learner(config, tmp_path / "cut", tiny.Hand())
    assert end.steps == 4 and [record["step"] for record in records] == [3, 4]
    assert tiny.difference(tiny.weights(tmp_path / "whole"), tiny.weights(tmp_path / "cut")) <= 1e-6


def test_checkpoint_holds_the_records_of_all_its_steps_also_of_earlier_starts(
    policy: Path, tmp_path: Path
) -> None:
    """Law 5: who reads the learner's notes may die before it has them."""
    checkpoints = TrainFolder(tmp_path).checkpoints
    _, first = tiny.run_learner(
        tiny.settings(policy, "grpo.steps=2", "grpo.save_every=2"), tmp_path, tiny.Hand()
    )
    assert checkpoints.metrics(2) == first and [record["step"] for record in first] == [1, 2]
    _, second = tiny.run_learner(tiny.settings(policy, "grpo.steps=3"), tmp_path, tiny.Hand())
    assert checkpoints.metrics(3) == [*first, *second] and len(second) == 1


def test_finished_learner_publishes_what_it_made_and_trains_no_further(policy: Path, tmp_path: Path) -> None:
    config = tiny.settings(policy)
    tiny.run_learner(config, tmp_path, tiny.Hand())
    before, hand = tiny.weights(tmp_path), tiny.Hand()
    end, records = tiny.run_learner(config, tmp_path, hand)
    assert end.steps == 3 and records == [] and list(hand.published) == [3]
    assert tiny.difference(before, hand.models[3].state_dict()) == 0


@pytest.mark.parametrize(
    ("poison", "reason"),
    [(float("nan"), "loss of step 2 is nan"), (float("inf"), "loss|gradient"), (1e9, "gradient of step 2")],
)
def test_broken_step_stops_at_the_last_good_checkpoint(
    policy: Path, tmp_path: Path, poison: float, reason: str
) -> None:
    def spoil(step: int, rows: list[Rollout]) -> None:
        if step == 2:
            rows[1] = replace(rows[1], advantage=poison)

    hand = tiny.Hand(change=spoil)
    end, records = tiny.run_learner(tiny.settings(policy), tmp_path, hand)
    assert end.steps == 1 and end.stopped is not None
    assert any(word in end.stopped for word in reason.split("|"))
    assert max(hand.published) == 1 and len(records) == 1
    assert all(bool(torch.isfinite(value).all()) for value in tiny.weights(tmp_path).values())


def test_policy_that_runs_away_is_stopped_before_it_is_published(policy: Path, tmp_path: Path) -> None:
    hand = tiny.Hand()
    config = tiny.settings(policy, "grpo.max_kl=1e-6", "grpo.learning_rate=1e-2")
    end, _ = tiny.run_learner(config, tmp_path, hand)
    assert end.stopped is not None and "grpo.max_kl" in end.stopped
    assert max(hand.published) == 1  # step 1 starts at no divergence; step 2 shows what it did


def test_replica_with_stale_weights_raises_an_alarm(policy: Path, tmp_path: Path) -> None:
    class Stale(tiny.Hand):  # type: ignore[name-defined, misc]
        def announce(self, step: int, folder: Path, probe: Any) -> Any:
            good = super().announce(step, folder, probe)
            old = self.models[0]
            return type(good)(1, [[tiny.logprobs_of(old, prompt, tokens) for prompt, tokens in probe]])

    said: list[str] = []
    _, records = tiny.run_learner(tiny.settings(policy), tmp_path, Stale(), said)
    assert records[-1]["logprob_gap_mean"] > 1e-3 and any("ALARM" in line for line in said)


def test_adapters_are_published_alone_and_a_whole_model_is_kept_at_the_end(
    policy: Path, tmp_path: Path
) -> None:
    hand = tiny.Hand()
    end, records = tiny.run_learner(tiny.settings(policy, "grpo.lora_rank=4"), tmp_path, hand)
    assert end.steps == 3 and hand.models[0].state_dict().keys() == hand.models[3].state_dict().keys()
    assert tiny.difference(hand.models[0].state_dict(), hand.models[3].state_dict()) > 0
    assert all(record["logprob_gap"] < 1e-4 for record in records)  # base and adapters are the learner's
    assert sorted(path.name for path in hand.published[3].iterdir()) == [ADAPTER_CONFIG, ADAPTER_WEIGHTS]
    assert read_adapters(hand.published[3]) == Adapters(str(policy), 4)
    checkpoints = TrainFolder(tmp_path).checkpoints
    saved = checkpoints.policy_weights(3)
    assert saved.name == MERGED and checkpoints.policy_weights(2) == checkpoints.checkpoint(2)
    assert tiny.difference(hand.models[3].state_dict(), tiny.model_in(saved).state_dict()) == 0


def test_adapters_are_not_sharded(policy: Path) -> None:
    with pytest.raises(ConfigError, match=r"grpo\.fsdp=false"):
        check_shape(tiny.settings(policy, "grpo.lora_rank=4", "grpo.fsdp=true").grpo)


def test_small_updates_are_not_lost_to_a_short_forward_pass(policy: Path, tmp_path: Path) -> None:
    hand = tiny.Hand()
    config = tiny.settings(policy, "grpo.dtype=bfloat16", "grpo.learning_rate=1e-6", "grpo.steps=1")
    tiny.run_learner(config, tmp_path, hand)
    assert 0 < tiny.difference(hand.models[0].state_dict(), hand.models[1].state_dict()) < 1e-5


def test_engine_gets_weights_in_its_own_precision(policy: Path, tmp_path: Path) -> None:
    config = tiny.settings(policy, "policy.dtype=bfloat16", "grpo.steps=1")
    tiny.run_learner(config, tmp_path, tiny.Hand())
    (newest,) = (tmp_path / "weights").glob("step-000001")
    assert {tensor.dtype for _, tensor in read_weights(newest)} == {torch.bfloat16}
    assert {tensor.dtype for tensor in tiny.weights(tmp_path).values()} == {torch.float32}


def test_gap_is_measured_at_temperature_one(policy: Path, tmp_path: Path) -> None:
    _, records = tiny.run_learner(tiny.settings(policy, "grpo.temperature=0.7"), tmp_path, tiny.Hand(lag=1))
    assert records[-1]["logprob_gap"] < 1e-4  # stale samples have no gap of their own: this is the probe's


@pytest.mark.parametrize("sampled_at", [0.6, 1.0])
def test_tempered_samples_have_ratio_one_where_both_sides_are_tempered(
    policy: Path, tmp_path: Path, sampled_at: float
) -> None:
    """As vLLM gives them (logprobs_mode processed_logprobs); those of the untempered distribution are an alarm."""

    def tempered(step: int, rows: list[Rollout]) -> None:
        model = hand.models[step - 1]
        rows[:] = [
            replace(
                row, logprobs=tuple(tiny.logprobs_of(model, [*row.prompt_ids], [*row.token_ids], sampled_at))
            )
            for row in rows
        ]

    hand, said = tiny.Hand(change=tempered), list[str]()
    config = tiny.settings(policy, "grpo.temperature=0.6", "grpo.max_lag=0", "grpo.steps=2")
    _, records = tiny.run_learner(config, tmp_path, hand, said)
    for record in records:
        fits = record["logprob_gap"] < 1e-4 and abs(record["ratio_max"] - 1) < 1e-4
        assert fits == (sampled_at == 0.6)
    assert any("ALARM" in line for line in said) == (sampled_at != 0.6)


def test_weights_of_a_learner_that_died_make_room_for_those_made_again(policy: Path, tmp_path: Path) -> None:
    config = tiny.settings(policy)
    tiny.run_learner(config, tmp_path, tiny.Hand())
    (tmp_path / "checkpoints" / "step-000003").rename(tmp_path / "gone")
    (tmp_path / "checkpoints" / "step-000002").rename(tmp_path / "gone too")
    there: list[list[str]] = []

    class Looks(tiny.Hand):  # type: ignore[name-defined, misc]
        def batch(self, step: int) -> Any:
            there.append(sorted(path.name for path in (tmp_path / "weights").iterdir()))
            return super().batch(step)

    tiny.run_learner(config, tmp_path, Looks())
    assert "step-000001-2" in there[0] and "step-000001" not in there[0] and "step-000003" not in there[0]


def test_tied_embeddings_are_trained_and_published(tmp_path: Path) -> None:
    policy, hand = tiny.write_policy(tmp_path / "policy", tied=True), tiny.Hand()
    _, records = tiny.run_learner(tiny.settings(policy), tmp_path / "run", hand)
    assert all(record["logprob_gap"] < 1e-4 for record in records)


def test_checkpoints_are_whole_and_few(policy: Path, tmp_path: Path) -> None:
    hand = tiny.Hand()
    tiny.run_learner(tiny.settings(policy, "grpo.steps=5", "grpo.keep_checkpoints=2"), tmp_path, hand)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000001", "step-000004", "step-000005"] and hand.kept == [1, 2, 3, 4, 5]
    for name in names:
        assert (tmp_path / "checkpoints" / name / "optimizer.pt").exists()


def test_how_often_is_saved_may_change_between_two_starts(policy: Path, tmp_path: Path) -> None:
    tiny.run_learner(tiny.settings(policy, "grpo.steps=2"), tmp_path, tiny.Hand())
    hand = tiny.Hand()
    tiny.run_learner(tiny.settings(policy, "grpo.steps=7", "grpo.save_every=3"), tmp_path, hand)
    assert hand.kept == [3, 6, 7]


def test_steps_that_do_not_fit_micro_batches_are_refused(policy: Path) -> None:
    with pytest.raises(ConfigError, match=r"grpo\.micro_batch=2"):
        check_shape(tiny.settings(policy, "grpo.micro_batch=3").grpo)
    check_shape(tiny.settings(policy, "grpo.micro_batch=3", "grpo.micro_batch_tokens=100").grpo)
