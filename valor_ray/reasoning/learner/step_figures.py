"""The figures of one training step: of its rollouts, and of how far learner and behaviour policy are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from valor_ray.records import Head, Rollout

if TYPE_CHECKING:
    import torch

    from valor_ray.reasoning.learner.ports import StepBatch


@dataclass(frozen=True)
class Gap:
    """How far two scorings of the same tokens by the same weights are apart: |difference| of log-probabilities, nat.

    Rounding alone makes bfloat16's largest a third of a nat, so that only mean and 99th percentile tell anything.
    """

    mean: float
    p99: float
    largest: float

    @classmethod
    def of(cls, sizes: np.ndarray) -> Self | None:
        """None: nothing was compared."""
        if not len(sizes):
            return None
        return cls(float(sizes.mean()), float(np.quantile(sizes, 0.99)), float(sizes.max()))


def widest(gaps: Sequence[Gap | None]) -> Gap | None:
    """The largest of each figure."""
    known = [gap for gap in gaps if gap is not None]
    if not known:
        return None
    return Gap(*(max(getattr(gap, name) for gap in known) for name in ("mean", "p99", "largest")))


_NO_SIZES = np.zeros(0, np.float32)


@dataclass(frozen=True)
class TokenFigures:
    """Means and extremes over the tokens that count; trl's own means also count micro-batches that fill a step up."""

    tokens: int
    ratio_mean: float  # importance ratio learner / behaviour
    ratio_max: float
    clip_share: float  # tokens whose ratio lies outside 1 ± clip on the side where the loss cuts it off, or above delta
    entropy: float  # of the learner, nats a token
    kl: float | None  # k3 divergence from the start policy, nats a token; None: grpo.kl is 0
    # |log ratio| of each token of samples by the very weights that are trained: engine - learner
    gaps: np.ndarray = field(default_factory=lambda: _NO_SIZES, compare=False, repr=False)

    @property
    def gap(self) -> Gap | None:
        return Gap.of(self.gaps)


def token_figures(
    logps: torch.Tensor,
    entropies: torch.Tensor,
    batch: Mapping[str, torch.Tensor],
    clip: float,
    delta: float | None,
) -> TokenFigures:
    """Of one micro-batch. logps, entropies: the learner's, (rows, C). Of examples every ratio is 1.

    clip, delta: as of the settings.
    """
    import torch

    mask = batch["completion_mask"].bool()
    reference = batch.get("ref_per_token_logps")
    if not mask.any():
        return TokenFigures(0, 0.0, 0.0, 0.0, 0.0, None if reference is None else 0.0)
    log_ratio = logps - batch.get("old_per_token_logps", logps)
    ratio = torch.exp(log_ratio[mask])
    advantage = batch["advantages"].unsqueeze(1).expand_as(log_ratio)[mask]
    cut = ((ratio < 1 - clip) & (advantage < 0)) | ((ratio > 1 + clip) & (advantage > 0))
    cut |= (ratio > (math.inf if delta is None else delta)) & (advantage < 0)
    fresh = log_ratio[mask & batch["fresh"].unsqueeze(1)]
    back = None if reference is None else (reference - logps)[mask]
    return TokenFigures(
        tokens=int(mask.sum()),
        ratio_mean=float(ratio.mean()),
        ratio_max=float(ratio.max()),
        clip_share=float(cut.float().mean()),
        entropy=float(entropies[mask].mean()),
        kl=None if back is None else float((torch.exp(back) - back - 1).mean()),
        gaps=fresh.detach().abs().float().cpu().numpy(),
    )


def step_token_figures(parts: Sequence[TokenFigures]) -> TokenFigures:
    """Over the micro-batches of a step."""
    tokens = sum(part.tokens for part in parts)
    kl = [(part.kl, part.tokens) for part in parts if part.kl is not None]
    if not tokens:
        return TokenFigures(0, 1.0, 1.0, 0.0, 0.0, 0.0 if kl else None)
    return TokenFigures(
        tokens=tokens,
        ratio_mean=sum(part.ratio_mean * part.tokens for part in parts) / tokens,
        ratio_max=max(part.ratio_max for part in parts),
        clip_share=sum(part.clip_share * part.tokens for part in parts) / tokens,
        entropy=sum(part.entropy * part.tokens for part in parts) / tokens,
        kl=sum(value * count for value, count in kl) / tokens if kl else None,
        gaps=np.concatenate([part.gaps for part in parts]),
    )


def rollout_figures(batch: StepBatch) -> dict[str, Any]:
    """Rewards, heads, counts, lag and cost of a step's rollouts; null where nothing is known.

    cut: share of the replies that the token limit ended.

    Where scenes are asked for, scenes_left_out: share of the groups whose question they do not apply to;
    scenes_missing: share of the replies without a verdict of theirs although they do, the undecided ones above all.
    judge_calls_per_reply: requests sent, hedges included, over all replies.
    """
    rollouts = batch.all_rows
    verdicts = {head: [getattr(rollout, head.value) for rollout in rollouts] for head in Head}
    known = [rollout for rollout in rollouts if rollout.value is not None]
    tested = any(rollout.scene_test or Head.SCENES.value in rollout.reasons for rollout in rollouts)
    return {
        "reward": _mean([rollout.value for rollout in known if rollout.value is not None]),
        "all_heads": _mean([all_yes(rollout) for rollout in known]),
        "well_formed": _mean([rollout.format is True for rollout in rollouts]),
        "cut": _mean([rollout.finish_reason == "length" for rollout in rollouts]),
        "heads": {
            head.value: _mean([verdict for verdict in given if verdict is not None])
            for head, given in verdicts.items()
        },
        "scenes_left_out": _mean(_left_out(rollouts)) if tested else None,
        "scenes_missing": _mean([scenes_missing(rollout) for rollout in rollouts]) if tested else None,
        "lag_mean": _mean(batch.lags),
        "lag_max": max(batch.lags, default=None),
        **batch.counts,
        "reply_tokens": _mean([len(rollout.token_ids) for rollout in rollouts]),
        "judge_calls": sum(rollout.calls for rollout in rollouts),
        "judge_calls_per_reply": _mean([rollout.calls for rollout in rollouts]),
        "cache_hits": sum(rollout.cache_hits for rollout in rollouts),
        "judge_cost_usd": sum(rollout.cost_usd for rollout in rollouts),
    }


def all_yes(rollout: Rollout) -> bool:
    """Whether every head that was asked said yes, of a rollout that has a reward."""
    return rollout.format is True and all(getattr(rollout, head.value) is not False for head in Head)


def scenes_missing(rollout: Rollout) -> bool:
    """Whether the scene tests were asked for and gave no verdict."""
    return rollout.scenes is None and Head.SCENES.value in rollout.reasons


def _left_out(rollouts: Sequence[Rollout]) -> list[bool]:
    """A group each. Replies without the format are tested by nobody: a group of them alone counts as tested."""
    groups: dict[tuple[int, int], bool] = {}
    for rollout in rollouts:
        place = (rollout.shard, rollout.group)
        groups[place] = groups.get(place, False) or Head.SCENES.value in rollout.left_out
    return list(groups.values())


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None
