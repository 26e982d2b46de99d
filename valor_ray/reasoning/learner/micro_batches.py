"""Rollouts of a step → padded tensors, cut into equally many micro-batches for every learner process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from valor_ray.records import Rollout


def micro_batches(
    rows: Sequence[Rollout],
    lags: Sequence[int],
    *,
    total: int,
    micro: int,
    rank: int,
    world: int,
    pad_id: int,
) -> list[dict[str, torch.Tensor]]:
    """The micro-batches of one process, `total / (micro x world)` of them, each with `micro` rows.

    lags: of `rows`, in updates; a row is fresh where it is 0. Rows of like length go together. Steps with fewer than
    `total` rows are filled up with rows whose masks are 0.
    Tensors: prompt_ids, prompt_mask (micro, P), left-padded; completion_ids, completion_mask, old_per_token_logps
    (micro, C), right-padded; advantages, fresh (micro,). What is in a micro-batch does not depend on `world`.
    Rows without log-probabilities are examples, whoever wrote them: old_per_token_logps is not there then, trl takes
    every ratio for 1, and an advantage of 1 makes its loss that of maximum likelihood.
    """
    if len(rows) > total or total % (micro * world):
        raise ValueError(
            f"{len(rows)} rows do not fit {total} in micro-batches of {micro} for {world} processes"
        )
    aged = sorted(zip(rows, lags, strict=True), key=lambda pair: _length(pair[0]))
    filled = [*aged, *[None] * (total - len(rows))]
    cut = [filled[start : start + micro] for start in range(0, total, micro)]
    return [_tensors(chunk, pad_id) for chunk in cut[rank::world]]


def token_micro_batches(
    rows: Sequence[Rollout], lags: Sequence[int], *, tokens: int, rank: int, world: int, pad_id: int
) -> list[dict[str, torch.Tensor]]:
    """As `micro_batches`, each of as many rows as `tokens` tokens hold, padding included; a longer row goes alone.

    A turn of all processes is cut at a time, so that they have equally many micro-batches, one at least, and of equally
    many rows, which trl counts on. Rows whose masks are 0 fill the first turn up.
    """
    aged = sorted(zip(rows, lags, strict=True), key=lambda pair: _length(pair[0]))
    lacking = -len(aged) % world if aged else world
    filled = [*[None] * lacking, *aged]
    turns: list[list[tuple[Rollout, int] | None]] = []
    width = length = 0
    for start in range(0, len(filled), world):
        further = filled[start : start + world]
        wide = max([1, *(len(row[0].prompt_ids) for row in further if row)])
        long = max([1, *(len(row[0].token_ids) for row in further if row)])
        both = max(width, wide), max(length, long)
        if turns and (len(turns[-1]) // world + 1) * sum(both) <= tokens:
            turns[-1].extend(further)
            width, length = both
        else:
            turns.append([*further])
            width, length = wide, long
    return [_tensors(turn[rank::world], pad_id) for turn in turns]


def _length(rollout: Rollout) -> tuple[int, str]:
    return len(rollout.prompt_ids) + len(rollout.token_ids), rollout.rollout_id


def _tensors(rows: Sequence[tuple[Rollout, int] | None], pad_id: int) -> dict[str, torch.Tensor]:
    """rows: (rollout, lag), or None for one that fills up."""
    import torch

    width = max([len(row[0].prompt_ids) for row in rows if row] or [1])
    length = max([len(row[0].token_ids) for row in rows if row] or [1])
    count = len(rows)
    prompt_ids = torch.full((count, width), pad_id, dtype=torch.long)
    prompt_mask = torch.zeros((count, width), dtype=torch.long)
    completion_ids = torch.full((count, length), pad_id, dtype=torch.long)
    completion_mask = torch.zeros((count, length), dtype=torch.long)
    behaviour = torch.zeros((count, length))
    advantages = torch.zeros(count)
    fresh = torch.zeros(count, dtype=torch.bool)
    for i, row in enumerate(rows):
        if row is None:
            prompt_mask[i, -1] = 1  # an attention over nothing would be NaN
            continue
        rollout, lag = row
        before, after = len(rollout.prompt_ids), len(rollout.token_ids)
        prompt_ids[i, width - before :] = torch.tensor(rollout.prompt_ids)
        prompt_mask[i, width - before :] = 1
        completion_ids[i, :after] = torch.tensor(rollout.token_ids)
        completion_mask[i, :after] = 1
        if rollout.logprobs:
            behaviour[i, :after] = torch.tensor(rollout.logprobs)
        advantages[i] = rollout.advantage
        fresh[i] = lag == 0
    made = {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": completion_mask,
        "old_per_token_logps": behaviour,
        "advantages": advantages,
        "fresh": fresh,
    }
    if any(row is not None and row[0].token_ids and not row[0].logprobs for row in rows):
        del made["old_per_token_logps"]
    return made
