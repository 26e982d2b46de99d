"""Averages of weights: over the steps (EMA), and between old and new (WiSE-FT, arXiv 2109.01903)."""

from __future__ import annotations

import torch

State = dict[str, torch.Tensor]


@torch.no_grad()
def follow(average: State, present: State, keep: float, step: int) -> None:
    """Move the average towards the present weights, in place; early steps count more, so that the start fades."""
    share = min(keep, (1 + step) / (10 + step)) if keep else 0.0
    for name, value in average.items():
        value.lerp_(present[name], 1 - share)


def between(start: State, end: State, alpha: float) -> State:
    """(1 - alpha) · start + alpha · end, for the names of `end`."""
    return {
        name: torch.lerp(start[name].float(), value.float(), alpha).to(value.dtype)
        for name, value in end.items()
    }
