"""One step of the real learner, on a policy whose gradient is known by hand: what came out, and what should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hand_grpo as hand
import numpy as np
import torch
from rollout_of import rollout_of
from transformers import AutoTokenizer

from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.reasoning.learner.learn import learn
from valor_ray.reasoning.learner.ports import StepBatch
from valor_ray.reasoning.training import advantage
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.records import Rollout
from valor_ray.runs.weight_channel import FileChannel, Probe, Published

SETTING = hand.Setting(temperature=0.7, clip=0.2, kl=0.05, delta=1.6)
RATE, DECAY = 1e-2, 0.1  # of AdamW
MOST = 0.25  # norm that gradients are scaled down to
REWARDS = ((0.0, 0.3, None, 1.0), (0.9, 0.4, 0.4, 0.1))  # a sample without reward: the step is filled up
LENGTHS = ((9, 4, 6, 12), (3, 7, 11, 5))
_VOCABULARY = len(AutoTokenizer.from_pretrained(CHECKPOINTS / "policy"))

START = hand.weights_of(0, _VOCABULARY)  # the reference
OLDER = hand.moved(START, 1, 0.3)  # wrote the samples


@dataclass
class Step:
    """What one update of the learner was made of."""

    loss: float  # as added up over the micro-batches
    gradient: hand.Weights  # before clipping
    clipped: hand.Weights  # after it
    record: Mapping[str, Any] = field(default_factory=dict)  # of metrics.jsonl


def settings(policy: Path, *overrides: str) -> Config:
    """Two groups of four in micro-batches of two: of the eight places of a step seven hold a row."""
    return Config.load(
        "local",
        [
            f"policy.model={policy}", "grpo.prompts=2", "grpo.samples=4", "grpo.micro_batch=2", "grpo.steps=1",
            f"grpo.temperature={SETTING.temperature}", f"grpo.clip={SETTING.clip}", f"grpo.kl={SETTING.kl}",
            f"grpo.delta={SETTING.delta}",
            f"grpo.learning_rate={RATE}", f"grpo.weight_decay={DECAY}", f"grpo.max_grad_norm={MOST}",
            "grpo.warmup_steps=0", "grpo.max_kl=1e9", "grpo.threads=1", *overrides,
        ],
    )  # fmt: skip


def stale_rows(step: int = 1, behaviour: hand.Weights = OLDER) -> list[Rollout]:
    """The rows of a step: replies of unlike lengths, by older weights, with the advantages of their rewards."""
    rng, rows = np.random.default_rng(step), []
    for group, rewards in enumerate(REWARDS):
        prompt = tuple(int(token) for token in rng.integers(3, 400, 3 + 2 * group))
        marks = advantage.advantages(rewards)
        for sample, (_, value) in enumerate(marks):
            tokens = tuple(int(token) for token in rng.integers(3, 400, LENGTHS[group][sample]))
            row = rollout_of(
                step, group=group, sample=sample, prompt_ids=prompt, token_ids=tokens, advantage=value, cost_usd=0.0
            )  # fmt: skip
            said = hand.logprobs(behaviour, row, SETTING.temperature)
            if value is not None:
                rows.append(
                    rollout_of(**vars(row) | {"logprobs": tuple(float(v) for v in said.astype(np.float32))})
                )
    return rows


def _learner() -> hand.Weights:
    """Is trained: the first move from START that gives a step with every case of clip and delta, twice at least.

    Searched for, since the numbers depend on the size of the shipped vocabulary.
    """
    for seed in range(3, 100):
        weights = hand.moved(START, seed, 0.3)
        counts = hand.branch_counts(weights, stale_rows(), SETTING)
        if len(counts) == 8 and min(counts.values()) >= 2:
            return weights
    raise AssertionError("no move gives every case of clip and delta")


LEARNER = _learner()


def advantages_by_hand() -> list[float]:
    """(reward - mean) / (deviation of a sample + 1e-4) over a group's known rewards, in the order of `stale_rows`."""
    values: list[float] = []
    for rewards in REWARDS:
        known = np.array([reward for reward in rewards if reward is not None])
        values.extend(float(v) for v in (known - known.mean()) / (known.std(ddof=1) + 1e-4))
    return values


class Source:
    """Gives the learner its rows, follows its channel, and keeps what it publishes."""

    def __init__(self, lag: int = 1) -> None:
        self.lag = lag
        self.published: dict[int, hand.Weights] = {}

    def rows(self, step: int) -> list[Rollout]:
        return stale_rows(step)

    def batch(self, step: int) -> StepBatch:
        rows = self.rows(step)
        return StepBatch(step, rows, rows, {}, [self.lag] * len(rows), 0.0, 0.0)

    def checkpointed(self, step: int) -> None:
        pass

    def announce(self, step: int, folder: Path, probe: Probe) -> Published:
        from safetensors.torch import load_file

        state = load_file(folder / "model.safetensors")
        self.published[step] = {name: value.double().numpy() for name, value in state.items()}
        return Published(1, [])


def run_learner(
    config: Config, run: Path, source: Source, learner: hand.Weights | None = LEARNER
) -> list[Step]:
    """The updates of a learner that starts from `learner` (None: from the reference) and stops after its steps."""
    steps: list[Step] = []
    records: list[Mapping[str, Any]] = []

    def prepare(trainer: Any) -> Any:
        if learner is not None:
            trainer.model.load_state_dict(
                {name: torch.tensor(value).float() for name, value in learner.items()}
            )
        clip = trainer._clip_grad_norm

        def observed(model: Any) -> Any:
            before = _gradient_of(trainer.model)
            norm = clip(model)
            steps.append(Step(trainer._loss, before, _gradient_of(trainer.model)))
            return norm

        trainer._clip_grad_norm = observed
        return trainer

    run.mkdir(parents=True, exist_ok=True)
    folder = TrainFolder(run)
    folder.prepare(config)
    channel = FileChannel(folder.weights, config.grpo.max_lag + 2, source.announce, True)
    total = config.grpo.steps or 0
    end = learn(
        config, folder.checkpoints, total, source, channel, lambda line: None, records.append, prepare
    )
    assert end.stopped is None, end.stopped
    for step, record in zip(steps, records, strict=True):
        step.record = record
    return steps


def _gradient_of(model: Any) -> hand.Weights:
    return {name: value.grad.double().numpy().copy() for name, value in model.named_parameters()}


def adam_first(weights: hand.Weights, gradient: hand.Weights) -> hand.Weights:
    """AdamW's first update: both moments are the gradient's own, so each number moves by the rate, against its sign."""
    return {
        name: value * (1 - RATE * DECAY * (name != hand.NORM))
        - RATE * gradient[name] / (np.abs(gradient[name]) + 1e-8)
        for name, value in weights.items()
    }


def rows_by_hand(rows: Sequence[Rollout]) -> list[Rollout]:
    """Those rows with the advantages that they should have."""
    return [replace(row, advantage=value) for row, value in zip(rows, advantages_by_hand(), strict=True)]


def deviations(step: Step, rows: Sequence[Rollout], learner: hand.Weights = LEARNER) -> tuple[float, float]:
    """Relative deviations of the step's loss and of its gradient from those by hand."""
    loss, gradient = hand.loss_and_gradient(learner, START, rows_by_hand(rows), SETTING)
    return abs(step.loss - loss) / abs(loss), hand.deviation(gradient, step.gradient)
