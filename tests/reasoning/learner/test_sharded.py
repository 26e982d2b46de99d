"""Several learner processes make the step of one, whole or sharded; their checkpoints go on in any number of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_run as tiny
from learner_processes import learn

from valor_ray.errors import CheckpointError, StorageError
from valor_ray.reasoning.learner.sharded_state import STATE
from valor_ray.reasoning.training.folder import TrainFolder

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]  # each start of a process loads torch and trl
SHARDED = "grpo.fsdp=true"
FIGURES = ("loss", "grad_norm", "kl", "ratio_mean")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_policy(tmp_path_factory.mktemp("policy"))


@pytest.mark.parametrize("tied", [False, True])
def test_two_processes_have_the_loss_of_one(tied: bool, tmp_path: Path) -> None:
    policy = tiny.write_policy(tmp_path / "policy", tied=tied)
    steps = "grpo.steps=5"
    one = learn(policy, tmp_path / "one", 1, steps)
    ways: dict[str, tuple[str, ...]] = {"two": (), "sharded": (SHARDED,)}
    if tied:
        del ways["two"]  # whole models have nothing to tie wrongly
    for name, overrides in ways.items():
        two = learn(policy, tmp_path / name, 2, steps, *overrides)
        for first, other in zip(one, two, strict=True):
            for figure in FIGURES:
                assert other[figure] == pytest.approx(first[figure], rel=1e-4, abs=1e-6), (name, figure)
            assert other["logprob_gap"] < 1e-4, name  # also of sharded weights, which all score together
        assert tiny.difference(tiny.weights(tmp_path / "one"), tiny.weights(tmp_path / name)) < 1e-4


def test_micro_batches_by_tokens_have_the_figures_of_equal_ones(policy: Path, tmp_path: Path) -> None:
    """Of the first step, as later ones start from weights that differ in their last bits."""
    one = learn(policy, tmp_path / "one", 1)
    tokens = "grpo.micro_batch_tokens=50"
    for name, world, overrides in (("one_t", 1, ()), ("two", 2, ()), ("sharded", 2, (SHARDED,))):
        other = learn(policy, tmp_path / name, world, tokens, *overrides)
        for figure in FIGURES:
            assert other[0][figure] == pytest.approx(one[0][figure], rel=1e-5, abs=1e-7), (name, figure)
        assert tiny.difference(tiny.weights(tmp_path / "one"), tiny.weights(tmp_path / name)) < 1e-4, name


def test_two_processes_in_bfloat16_are_near_one(policy: Path, tmp_path: Path) -> None:
    half = ("grpo.dtype=bfloat16", "grpo.gap_alarm=1")
    one = learn(policy, tmp_path / "one", 1, *half)
    two = learn(policy, tmp_path / "two", 2, *half, SHARDED)
    for first, other in zip(one, two, strict=True):
        for figure in FIGURES:
            assert other[figure] == pytest.approx(first[figure], rel=2e-2, abs=2e-3), figure
        assert other["logprob_gap"] < 2e-2


def test_a_sharded_checkpoint_goes_on_in_another_number_of_processes(policy: Path, tmp_path: Path) -> None:
    whole = learn(policy, tmp_path / "whole", 1, SHARDED, "grpo.steps=4")
    for name, counts in (("same", (1, 1)), ("fewer", (2, 1)), ("more", (1, 2))):
        run = tmp_path / name
        learn(policy, run, counts[0], SHARDED)
        assert TrainFolder(run).checkpoints.newest() == 2
        later = learn(policy, run, counts[1], SHARDED, "grpo.steps=4")
        assert [record["step"] for record in later] == [3, 4]
        for first, other in zip(whole[2:], later, strict=True):
            assert other["loss"] == pytest.approx(first["loss"], rel=1e-3, abs=1e-6), name
        most = 0 if name == "same" else 1e-4
        assert tiny.difference(tiny.weights(tmp_path / "whole"), tiny.weights(run)) <= most, name


def test_a_checkpoint_takes_about_twelve_bytes_a_parameter_and_says_when_it_cannot_be_read(
    policy: Path, tmp_path: Path
) -> None:
    learn(policy, tmp_path / "run", 1, SHARDED)
    checkpoints = TrainFolder(tmp_path / "run").checkpoints
    state = checkpoints.checkpoint(2) / STATE
    weights = tiny.weights(tmp_path / "run")
    parameters = sum(value.numel() for value in weights.values())
    written = sum(path.stat().st_size for path in state.rglob("*"))
    around = 3 * 5_000 * len(weights)  # names and places of a weight and its moments, of whatever size
    assert 12 * parameters <= written <= 12 * parameters + around
    assert not (
        checkpoints.checkpoint(1) / "merged"
    ).exists()  # only what is asked questions is an engine's, too
    assert checkpoints.has_model(2) and not checkpoints.has_model(1)
    next(state.glob("*.distcp")).write_bytes(b"torn")
    hand, config = tiny.Hand(), tiny.settings(policy, SHARDED, "grpo.workers=1", "grpo.steps=3")
    with pytest.raises(CheckpointError, match=r"step-000002.* cannot be read: .*Remove it"):
        tiny.run_learner(config, tmp_path / "run", hand)


def test_a_disk_that_is_full_ends_the_run_with_what_to_do(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.distributed.checkpoint.save", full)
    config = tiny.settings(policy, SHARDED, "grpo.workers=1", "grpo.steps=3")
    with pytest.raises(StorageError, match=r"No space left on device.*Make room"):
        tiny.run_learner(config, tmp_path / "run", tiny.Hand())
    assert TrainFolder(tmp_path / "run").checkpoints.newest() == 0
