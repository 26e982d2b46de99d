"""The check of test_gradients can fail: faults planted in the loss, the batch or the settings are each seen by it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import checked_step as checked
import hand_grpo as hand
import pytest
import torch
import trl.trainer.grpo_trainer as of_trl

from valor_ray.reasoning.learner import arguments as settings
from valor_ray.reasoning.learner import grpo_trainer as ours
from valor_ray.reasoning.training import advantage

SEEN = 1e-2  # relative deviation of the gradient, a thousand times what test_gradients allows
Plant = Callable[[pytest.MonkeyPatch], None]


def setting(patch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Other settings than the run's reach trl."""
    arguments = settings.grpo_arguments

    def changed(*args: Any, **more: Any) -> Any:
        made = arguments(*args, **more)
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    patch.setattr(settings, "grpo_arguments", changed)


def beta(patch: pytest.MonkeyPatch, value: float) -> None:
    """Another weight of the divergence reaches trl's loss."""
    attach = ours.ValorGrpoTrainer.attach

    def changed(trainer: Any, *args: Any, **more: Any) -> None:
        attach(trainer, *args, **more)
        trainer.beta = value

    patch.setattr(ours.ValorGrpoTrainer, "attach", changed)


def text(patch: pytest.MonkeyPatch, module: Any, owner: type, method: str, old: str, new: str) -> None:
    """A method with `old` in its source replaced by `new`."""
    source = textwrap.dedent(inspect.getsource(getattr(owner, method)))
    assert old in source, f"{owner.__name__}.{method} is written otherwise now: plant this fault anew"
    body = textwrap.indent(source.replace(old, new), "    ")
    place: dict[str, Any] = {}
    exec(
        f"def make(__class__):\n{body}\n    return {method}", vars(module), place
    )  # `super()` asks for __class__
    patch.setattr(owner, method, place["make"](owner))


in_loss = partial(text, module=of_trl, owner=of_trl.GRPOTrainer, method="_compute_loss")
in_ours = partial(text, module=ours, owner=ours.ValorGrpoTrainer)


def batches(patch: pytest.MonkeyPatch, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Micro-batches, with their reference, are changed on the way to the loss."""
    right = ours.ValorGrpoTrainer._next_step

    def changed(trainer: Any) -> list[dict[str, torch.Tensor]]:
        made = right(trainer)
        for batch in made:
            change(batch)
        return made

    patch.setattr(ours.ValorGrpoTrainer, "_next_step", changed)


def turn(batch: dict[str, torch.Tensor]) -> None:
    batch["advantages"] = -batch["advantages"]


def exchange(batch: dict[str, torch.Tensor]) -> None:
    old, reference = batch["old_per_token_logps"], batch["ref_per_token_logps"]
    batch["old_per_token_logps"], batch["ref_per_token_logps"] = reference, old


def lose_first(batch: dict[str, torch.Tensor]) -> None:
    batch["completion_mask"][:, 0] = 0


def lose_last(batch: dict[str, torch.Tensor]) -> None:
    lengths = batch["completion_mask"].sum(1)
    for row, length in enumerate(lengths.tolist()):
        batch["completion_mask"][row, length - 1 :] = 0


def count_padding(batch: dict[str, torch.Tensor]) -> None:
    lengths = batch["completion_mask"].sum(1)
    for row, length in enumerate(lengths.tolist()):
        batch["completion_mask"][row, : length + 1] = 1


def shift(batch: dict[str, torch.Tensor]) -> None:
    batch["old_per_token_logps"] = batch["old_per_token_logps"].roll(1, dims=1)


def swap_rows(batch: dict[str, torch.Tensor]) -> None:
    batch["advantages"] = batch["advantages"].flip(0)


def deviation_one(patch: pytest.MonkeyPatch) -> None:
    """Advantages are centred, but not divided by the deviation."""
    patch.setattr(advantage.math, "sqrt", lambda value: 1.0)


def of_all(patch: pytest.MonkeyPatch) -> None:
    """The deviation is that of a whole population, not of a sample."""
    text_of = inspect.getsource(advantage.advantages)
    assert "(len(known) - 1)" in text_of
    place = dict(vars(advantage))
    exec("from __future__ import annotations\n" + text_of.replace("(len(known) - 1)", "len(known)"), place)
    patch.setattr(advantage, "advantages", place["advantages"])


K3 = "torch.exp(ref_per_token_logps - per_token_logps) - (ref_per_token_logps - per_token_logps) - 1"
MEAN = "((per_token_loss * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean()"
PESSIMISM = "-torch.min(per_token_loss1, per_token_loss2)"

FAULTS: Mapping[str, Plant] = {
    "beta x 100": partial(beta, value=100 * checked.SETTING.kl),
    "beta 0": partial(beta, value=0.0),
    "epsilon 50": partial(setting, epsilon=50.0),
    "clip above only": partial(setting, epsilon=50.0, epsilon_high=checked.SETTING.clip),
    "clip below only": partial(setting, epsilon_high=50.0),
    "no delta": partial(setting, delta=None),
    "advantage sign turned": partial(batches, change=turn),
    "mean over the wrong axis": partial(in_loss, old=MEAN, new=MEAN.replace("sum(-1)", "sum(0)")),
    "mean over a micro-batch's tokens": partial(setting, loss_type="bnpo"),
    "sum over the longest length": partial(setting, loss_type="dr_grpo"),
    "sum over tokens": partial(in_loss, old=MEAN, new="(per_token_loss * mask).sum(-1).mean()"),
    "reference and old policy exchanged": partial(batches, change=exchange),
    "ratio of a sequence": partial(setting, importance_sampling_level="sequence"),
    "ratio always 1": partial(in_loss, old='inputs.get("old_per_token_logps")', new="None"),
    "ratio upside down": partial(
        in_loss, old="per_token_logps - old_per_token_logps", new="old_per_token_logps - per_token_logps"
    ),
    "larger of the two terms": partial(in_loss, old=PESSIMISM, new=PESSIMISM.replace("min", "max")),
    "clipped term alone": partial(in_loss, old=PESSIMISM, new="-per_token_loss2"),
    "k1 in place of k3": partial(in_loss, old=K3, new="per_token_logps - ref_per_token_logps"),
    "k2 in place of k3": partial(in_loss, old=K3, new="(per_token_logps - ref_per_token_logps) ** 2 / 2"),
    "k3 times the ratio": partial(setting, use_bias_correction_kl=True),
    "reference is the learner": partial(in_ours, method="_reference", old="(self.ref_model,", new="(self.model,"),
    "first token masked": partial(batches, change=lose_first),
    "last token masked": partial(batches, change=lose_last),
    "padding counted": partial(batches, change=count_padding),
    "old log-probabilities shifted": partial(batches, change=shift),
    "advantages of other rows": partial(batches, change=swap_rows),
    "advantages not normalised": deviation_one,
    "deviation of a population": of_all,
    "not divided by the micro-batches": partial(in_loss, old="loss = loss / normalizer", new="loss = loss * 1"),
    "filled up rows counted": partial(in_ours, method="_compute_loss", old=" * share", new=""),
    "temperature left out": partial(setting, temperature=1.0),
}  # fmt: skip
"""Name of a fault → what plants it."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hand.write_policy(tmp_path_factory.mktemp("policy"), checked.START)


def _step(policy: Path, run: Path) -> tuple[checked.Step, checked.Source]:
    source = checked.Source()
    (step,) = checked.run_learner(checked.settings(policy), run, source)
    return step, source


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_seen(
    fault: str, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deviations from 0.02 (k2 in place of k3) over 0.8 (epsilon 50) to 10 (beta x 100)."""
    FAULTS[fault](monkeypatch)
    step, _ = _step(policy, tmp_path / "run")
    assert checked.deviations(step, checked.stale_rows())[1] > SEEN


def test_planting_nothing_is_not_seen(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways of planting do not themselves move what they are put into."""
    setting(monkeypatch)
    in_loss(monkeypatch, old=MEAN, new=MEAN)
    in_ours(monkeypatch, method="_compute_loss", old=" * share", new=" * share")
    batches(monkeypatch, lambda batch: None)
    step, _ = _step(policy, tmp_path / "run")
    assert max(checked.deviations(step, checked.stale_rows())) < 1e-5


@pytest.mark.parametrize(
    ("changes", "clipped", "moved"),
    [
        ({"max_grad_norm": 1.0}, True, False),
        ({"learning_rate": 10 * checked.RATE}, False, True),
        ({"weight_decay": 0.0}, False, True),
        ({"adam_epsilon": 1e-4}, False, True),
    ],
    ids=["norm", "rate", "decay", "epsilon"],
)
def test_planted_fault_of_the_update_is_seen(
    changes: Mapping[str, float], clipped: bool, moved: bool, policy: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    setting(monkeypatch, **changes)
    step, source = _step(policy, tmp_path / "run")
    norm = hand.norm_of(step.gradient)
    scaled = {name: value * checked.MOST / norm for name, value in step.gradient.items()}
    assert (hand.deviation(scaled, step.clipped) > SEEN) == clipped
    wanted = checked.adam_first(checked.LEARNER, step.clipped)
    assert (_deviation_of_moves(wanted, source.published[1]) > SEEN) == moved


def _deviation_of_moves(wanted: hand.Weights, made: hand.Weights) -> float:
    moves: Sequence[hand.Weights] = [
        {name: value - checked.LEARNER[name] for name, value in weights.items()} for weights in (wanted, made)
    ]
    return hand.deviation(*moves)
