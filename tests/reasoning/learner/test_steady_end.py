"""The end of a run: averaged weights are what it hands on, a falling rate, and both go on over a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_run as tiny
from safetensors.torch import load_file

from valor_ray.errors import CheckpointError, ConfigError
from valor_ray.reasoning.learner.arguments import grpo_arguments
from valor_ray.reasoning.learner.averaged import AveragedWeights
from valor_ray.reasoning.learner.learn import check_shape
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.runs.checkpoints import AVERAGE, MERGED

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_policy(tmp_path_factory.mktemp("policy"))


def test_average_is_what_the_run_ends_with_and_training_does_not_see_it(policy: Path, tmp_path: Path) -> None:
    plain, averaged = tiny.Hand(), tiny.Hand()
    tiny.run_learner(tiny.settings(policy), tmp_path / "plain", plain)
    tiny.run_learner(tiny.settings(policy, "grpo.ema=0.5"), tmp_path / "averaged", averaged)
    for step in (1, 2):
        assert tiny.difference(plain.models[step].state_dict(), averaged.models[step].state_dict()) == 0
    steps = [plain.models[step].state_dict() for step in range(4)]
    name = "model.embed_tokens.weight"
    expected = sum(share * steps[step][name] for step, share in enumerate((0.125, 0.125, 0.25, 0.5)))
    assert averaged.models[3].state_dict()[name].allclose(expected, atol=1e-6)
    checkpoints = TrainFolder(tmp_path / "averaged").checkpoints
    assert checkpoints.policy_weights(3).name == MERGED
    assert [step for step in (1, 2, 3) if checkpoints.has_model(step)] == [
        3
    ]  # beside an average lie other weights
    assert tiny.difference(averaged.models[3].state_dict(), tiny.weights(tmp_path / "averaged")) == 0
    assert tiny.difference(steps[3], load_file(checkpoints.checkpoint(3) / "model.safetensors")) == 0


def test_killed_run_goes_on_to_the_same_average(policy: Path, tmp_path: Path) -> None:
    overrides = ("grpo.steps=4", "grpo.ema=0.7", "grpo.decay_steps=3")
    config = tiny.settings(policy, *overrides)
    tiny.run_learner(config, tmp_path / "whole", tiny.Hand())

    def dies(step: int, rows: list[object]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.run_learner(config, tmp_path / "cut", tiny.Hand(change=dies))
    tiny.run_learner(config, tmp_path / "cut", tiny.Hand())
    assert tiny.difference(tiny.weights(tmp_path / "whole"), tiny.weights(tmp_path / "cut")) <= 1e-6
    hand = tiny.Hand()
    tiny.run_learner(config, tmp_path / "cut", hand)  # finished: it hands on the same once more
    assert tiny.difference(tiny.weights(tmp_path / "cut"), hand.models[4].state_dict()) == 0


def test_rate_falls_over_the_last_steps_and_those_are_smaller(policy: Path, tmp_path: Path) -> None:
    hand = tiny.Hand()
    tiny.run_learner(tiny.settings(policy, "grpo.steps=4", "grpo.decay_steps=2"), tmp_path, hand)
    states = [hand.models[step].state_dict() for step in range(5)]
    moves = [tiny.difference(states[step], states[step + 1]) for step in range(4)]
    assert moves[2] == pytest.approx(1e-3, rel=0.2) and moves[3] < 0.7 * moves[2]


@pytest.mark.parametrize(("decay", "warm_up", "falling"), [(0, 2, 0), (5, 2, 5), (50, 2, 8), (5, 10, 0)])
def test_rate_falls_no_longer_than_there_are_steps_after_the_warm_up(
    policy: Path, tmp_path: Path, decay: int, warm_up: int, falling: int
) -> None:
    grpo = tiny.settings(policy, f"grpo.decay_steps={decay}", f"grpo.warmup_steps={warm_up}").grpo
    arguments = grpo_arguments(grpo, 10, tmp_path)
    kwargs = arguments.lr_scheduler_kwargs or {}
    assert kwargs.get("num_decay_steps", 0) == falling and arguments.warmup_steps == warm_up


def test_checkpoint_without_an_average_begins_one_and_a_broken_one_is_said(
    policy: Path, tmp_path: Path
) -> None:
    model = tiny.model_in(policy)
    average = AveragedWeights(model, 0.5)
    model.lm_head.weight.data += 1
    average.load(tmp_path)
    with average.in_place():
        assert tiny.difference(model.state_dict(), model.state_dict()) == 0
        assert model.lm_head.weight.data.mean() > 0.5
    (tmp_path / AVERAGE).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="Remove"):
        average.load(tmp_path)


@pytest.mark.parametrize("other", ["grpo.fsdp=true", "grpo.lora_rank=4"])
def test_average_is_of_whole_models(policy: Path, other: str) -> None:
    with pytest.raises(ConfigError, match=r"grpo\.ema=0"):
        check_shape(tiny.settings(policy, "grpo.ema=0.9", other).grpo)
