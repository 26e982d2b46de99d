"""GRPO by hand in numpy: a policy of no layers, its loss on a step of rollouts, and the gradient of each weight.

The policy is a Qwen3 without layers: the logits after token t are head · (norm x E[t] / rms(E[t])). Nothing here uses
torch's autograd, trl, or the learner; arrays are float64. V is the vocabulary, D 4, T the tokens of a reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from valor_ray.records import Rollout

EMBED, NORM, HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
WIDTH = 4
_RMS_EPSILON = 1e-6  # Qwen3Config.rms_norm_eps

Weights = dict[str, np.ndarray]  # EMBED (V, D), NORM (D,), HEAD (V, D)


@dataclass(frozen=True)
class Setting:
    """What the loss depends on besides the rollouts."""

    temperature: float
    clip: float
    kl: float
    delta: float


def write_policy(folder: Path, weights: Weights) -> Path:
    """The policy in Hugging Face format, with the shipped tokenizer."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from valor_ray.config.models import CHECKPOINTS

    config = Qwen3Config(
        vocab_size=len(weights[EMBED]), hidden_size=WIDTH, intermediate_size=4, num_hidden_layers=0,
        num_attention_heads=1, num_key_value_heads=1, head_dim=4, max_position_embeddings=512,
        rms_norm_eps=_RMS_EPSILON, tie_word_embeddings=False, bos_token_id=None, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in weights.items()})
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(CHECKPOINTS / "policy").save_pretrained(folder)
    return folder


def weights_of(seed: int, vocabulary: int) -> Weights:
    """Random weights that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    shapes = {EMBED: (vocabulary, WIDTH), NORM: (WIDTH,), HEAD: (vocabulary, WIDTH)}
    made = {name: rng.normal(1.0 if name == NORM else 0.0, 0.5, shape) for name, shape in shapes.items()}
    return {name: value.astype(np.float32).astype(np.float64) for name, value in made.items()}


def moved(weights: Weights, seed: int, by: float) -> Weights:
    """Weights at about the distance `by` from those given, for each number."""
    step = weights_of(seed, len(weights[EMBED]))
    return {
        name: (value + by * (step[name] - (name == NORM))).astype(np.float32).astype(np.float64)
        for name, value in weights.items()
    }


def _forward(
    weights: Weights, tokens: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """After each token: logits (T, V), what the head saw (T, D), the normalised embedding (T, D), 1 / rms (T, 1)."""
    embedded = weights[EMBED][list(tokens)]
    scale = 1 / np.sqrt((embedded**2).mean(1, keepdims=True) + _RMS_EPSILON)
    unit = embedded * scale
    seen = unit * weights[NORM]
    return seen @ weights[HEAD].T, seen, unit, scale


def logprobs(weights: Weights, rollout: Rollout, temperature: float = 1.0) -> np.ndarray:
    """Of the reply's tokens, (T,)."""
    logits = _forward(weights, _before(rollout))[0] / temperature
    return logits[np.arange(len(logits)), list(rollout.token_ids)] - np.log(np.exp(logits).sum(1))


def _before(rollout: Rollout) -> list[int]:
    """The token before each of the reply's."""
    return [rollout.prompt_ids[-1], *rollout.token_ids[:-1]]


def loss_and_gradient(
    learner: Weights, reference: Weights, rows: Sequence[Rollout], setting: Setting
) -> tuple[float, Weights]:
    """The mean over rows of the mean over a row's tokens of -min(min(r, delta)A, clip(r)A) + kl (e^d - d - 1), and
    its gradient.

    r: the learner's probability of a token over the behaviour policy's; d: log(reference / learner); A: the row's
    advantage. Where the clip or delta holds, the first term is a constant and gives no gradient.
    """
    loss = 0.0
    gradient = {name: np.zeros_like(value) for name, value in learner.items()}
    for row in rows:
        now = logprobs(learner, row, setting.temperature)
        ratio = np.exp(now - np.array(row.logprobs))
        back = logprobs(reference, row, setting.temperature) - now
        cut = np.array([branch.endswith("cut") for branch in branches(ratio, row.advantage, setting)])
        most = 1 + setting.clip if row.advantage > 0 else setting.delta
        held = np.clip(ratio, 1 - setting.clip, most)
        gain = np.where(cut, held, ratio) * row.advantage
        divergence = np.exp(back) - back - 1
        share = 1 / (len(rows) * len(now))
        loss += share * float((-gain + setting.kl * divergence).sum())
        slope = np.where(cut, 0.0, -ratio * row.advantage) + setting.kl * (1 - np.exp(back))
        _add_gradient(gradient, learner, row, share * slope, setting.temperature)
    return loss, gradient


def _add_gradient(
    gradient: Weights, weights: Weights, row: Rollout, slope: np.ndarray, temperature: float
) -> None:
    """slope: of the loss along the log-probability of each of the reply's tokens, (T,)."""
    before = _before(row)
    logits, seen, unit, scale = _forward(weights, before)
    shares = np.exp(logits / temperature)
    shares /= shares.sum(1, keepdims=True)
    chosen = np.zeros_like(shares)
    chosen[np.arange(len(before)), list(row.token_ids)] = 1
    of_logits = slope[:, None] * (chosen - shares) / temperature
    gradient[HEAD] += of_logits.T @ seen
    of_seen = of_logits @ weights[HEAD]
    gradient[NORM] += (of_seen * unit).sum(0)
    of_unit = of_seen * weights[NORM]
    of_embedded = scale * (of_unit - unit * (of_unit * unit).mean(1, keepdims=True))
    np.add.at(gradient[EMBED], before, of_embedded)


def branches(ratio: np.ndarray, advantage: float, setting: Setting) -> list[str]:
    """Where each token's ratio lies, and whether clip or delta takes its gradient: as in "above + cut"."""
    side, clip = "+" if advantage > 0 else "-", setting.clip
    names = []
    for value in ratio:
        place = "above" if value > 1 + clip else "below" if value < 1 - clip else "inside"
        place = "far" if value > setting.delta else place
        cut = (place, side) in (("above", "+"), ("below", "-"), ("far", "+"), ("far", "-"))
        names.append(f"{place} {side} {'cut' if cut else 'kept'}")
    return names


def branch_counts(learner: Weights, rows: Sequence[Rollout], setting: Setting) -> Counter[str]:
    """Tokens of a step by `branches`."""
    counts: Counter[str] = Counter()
    for row in rows:
        ratio = np.exp(logprobs(learner, row, setting.temperature) - np.array(row.logprobs))
        counts.update(branches(ratio, row.advantage, setting))
    return counts


def norm_of(gradient: Mapping[str, np.ndarray]) -> float:
    return float(np.sqrt(sum((value**2).sum() for value in gradient.values())))


def deviation(mine: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """The largest over the weights of |mine - other| / |mine|, both norms over all numbers of the weight."""
    assert mine.keys() == other.keys()
    return max(float(np.linalg.norm(mine[name] - other[name]) / np.linalg.norm(mine[name])) for name in mine)
