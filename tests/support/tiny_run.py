"""A tiny policy, rollouts by its own hand, and a learner over them without engine: what learner tests are made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from rollout_of import rollout_of
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.models.adapters import read_adapters
from valor_ray.reasoning.learner.learn import LearnerEnd, learn
from valor_ray.reasoning.learner.ports import StepBatch
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.records import Rollout
from valor_ray.runs.weight_channel import FileChannel, Probe, Published

PROMPTS, SAMPLES = 2, 4
COUNTS = {
    "groups": 2, "equal_groups": 0, "refilled": 0, "useful_groups": 2, "dropped_missing": 0, "dropped_stale": 0,
}  # fmt: skip


def write_policy(folder: Path, *, tied: bool = False, seed: int = 0) -> Path:
    """A Qwen3 of one layer with the shipped tokenizer, in Hugging Face format."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINTS / "policy")
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=512, tie_word_embeddings=tied, bos_token_id=None,
        eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def settings(policy: Path, *overrides: str) -> Config:
    return Config.load(
        "local",
        [
            f"policy.model={policy}", f"grpo.prompts={PROMPTS}", f"grpo.samples={SAMPLES}", "grpo.micro_batch=2",
            "grpo.steps=3", "grpo.save_every=1", "grpo.learning_rate=1e-3", "grpo.decay_steps=0", *overrides,
        ],
    )  # fmt: skip


@torch.no_grad()
def logprobs_of(model: Any, prompt: list[int], tokens: list[int], temperature: float = 1.0) -> list[float]:
    logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1] / temperature
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()


def rollouts(model: Any, step: int, lag: int = 0) -> list[Rollout]:
    """Rewarded samples of made-up tokens, with the log-probabilities that `model` gives them."""
    rng = np.random.default_rng(step)
    rows = []
    for group in range(PROMPTS):
        prompt = [int(token) for token in rng.integers(3, 400, 6 + group)]
        for sample in range(SAMPLES):
            tokens = [int(token) for token in rng.integers(3, 400, int(rng.integers(5, 12)))]
            rows.append(
                rollout_of(
                    step,
                    group=group,
                    sample=sample,
                    prompt_ids=tuple(prompt),
                    token_ids=tuple(tokens),
                    logprobs=tuple(logprobs_of(model, prompt, tokens)),
                    versions=((f"step-{step - 1 - lag:06d}", len(tokens)),),
                    advantage=float((-1, -0.4, 0.4, 1)[sample]),
                    value=sample / 4,
                    cost_usd=0.0,
                )
            )
    return rows


class Hand:
    """Source of a test, and who follows its channel: rollouts by the newest published weights (or older ones)."""

    def __init__(self, lag: int = 0, change: Callable[[int, list[Rollout]], None] | None = None) -> None:
        self.lag, self.change = lag, change
        self.published: dict[int, Path] = {}
        self.models: dict[int, Any] = {}
        self.kept: list[int] = []

    def batch(self, step: int) -> StepBatch:
        lag = min(self.lag, step - 1)
        rows = rollouts(self.models[max(0, step - 1 - self.lag)], step, lag)
        if self.change is not None:
            self.change(step, rows)
        return StepBatch(step, rows, rows, dict(COUNTS), [lag] * len(rows), 0.0, 0.0)

    def checkpointed(self, step: int) -> None:
        self.kept.append(step)

    def announce(self, step: int, folder: Path, probe: Probe) -> Published:
        model = model_in(folder)
        self.published[step], self.models[step] = folder, model
        return Published(1, [[logprobs_of(model, prompt, tokens) for prompt, tokens in probe]])


def run_learner(
    config: Config, run: Path, hand: Hand, said: list[str] | None = None
) -> tuple[LearnerEnd, list[Mapping[str, Any]]]:
    """A start of the learner over a run folder: its end, and the metrics records of the steps that it made."""
    records: list[Mapping[str, Any]] = []
    folder = TrainFolder(run)
    run.mkdir(parents=True, exist_ok=True)
    first = os.environ.get("RANK", "0") == "0"
    if first:  # of several processes the first prepares it, as a driver does for all
        folder.prepare(config)
    channel = FileChannel(folder.weights, config.grpo.max_lag + 2, hand.announce, first)
    say = (said if said is not None else []).append
    end = learn(config, folder.checkpoints, config.grpo.steps or 0, hand, channel, say, records.append)
    return end, records


def model_in(folder: Path) -> Any:
    """The whole model of a folder, of adapters too."""
    if (own := read_adapters(folder)) is not None:
        return PeftModel.from_pretrained(model_in(Path(own.base)), folder).merge_and_unload()
    return Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)


def weights(run: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    checkpoints = TrainFolder(run).checkpoints
    return load_file(checkpoints.policy_weights(checkpoints.newest()) / "model.safetensors")


def difference(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)
