"""Rollouts become padded micro-batches: what is padded, what is masked, and that `world` changes nothing."""

from __future__ import annotations

import pytest
import torch
from rollout_of import rollout_of

from valor_ray.reasoning.learner.micro_batches import micro_batches, token_micro_batches
from valor_ray.records import Rollout

PAD = 99


def row(name: int, prompt: int, tokens: int, lag: int = 0) -> tuple[Rollout, int]:
    """A rollout and its lag."""
    made = rollout_of(
        rollout_id=f"r{name:03d}",
        prompt_ids=(name + 1,) * prompt,
        token_ids=(name + 1,) * tokens,
        logprobs=(-float(name),) * tokens,
        advantage=name / 10,
    )
    return made, lag


def cut(
    rows: list[tuple[Rollout, int]], total: int, micro: int, rank: int = 0, world: int = 1
) -> list[dict[str, torch.Tensor]]:
    rollouts, lags = [rollout for rollout, _ in rows], [lag for _, lag in rows]
    return micro_batches(rollouts, lags, total=total, micro=micro, rank=rank, world=world, pad_id=PAD)


def test_prompts_are_padded_left_and_replies_right() -> None:
    (batch,) = cut([row(1, 2, 3), row(2, 4, 2)], total=2, micro=2)
    assert batch["prompt_ids"].tolist() == [[PAD, PAD, 2, 2], [3, 3, 3, 3]]
    assert batch["prompt_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert batch["completion_ids"].tolist() == [[2, 2, 2], [3, 3, PAD]]
    assert batch["completion_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["old_per_token_logps"].tolist() == [[-1, -1, -1], [-2, -2, 0]]
    assert batch["advantages"].tolist() == pytest.approx([0.1, 0.2])


def test_rows_by_older_weights_are_marked() -> None:
    (batch,) = cut([row(1, 1, 1, lag=0), row(2, 1, 2, lag=1)], total=2, micro=2)
    assert batch["fresh"].tolist() == [True, False]


def test_rows_of_like_length_go_together() -> None:
    rows = [row(1, 1, 9), row(2, 1, 2), row(3, 1, 8), row(4, 1, 1)]
    short, long = cut(rows, total=4, micro=2)
    assert short["advantages"].tolist() == pytest.approx([0.4, 0.2])
    assert long["advantages"].tolist() == pytest.approx([0.3, 0.1])
    assert (short["completion_ids"].shape, long["completion_ids"].shape) == ((2, 2), (2, 9))


def test_what_fills_a_step_up_counts_nothing_and_can_be_attended_to() -> None:
    first, last = cut([row(1, 3, 2)], total=4, micro=2)
    for batch, place in ((first, 1), (last, 0), (last, 1)):
        assert batch["completion_mask"][place].sum() == 0 and batch["advantages"][place] == 0
        assert batch["prompt_mask"][place].sum() == 1  # an attention over nothing would be NaN
        assert not batch["fresh"][place]


def test_step_without_rows_is_all_filling() -> None:
    batches = cut([], total=4, micro=2)
    assert [batch["completion_mask"].sum().item() for batch in batches] == [0, 0]


@pytest.mark.parametrize(("count", "micro"), [(12, 3), (7, 2), (0, 1)])
def test_micro_batches_are_equally_many_and_large_in_every_process(count: int, micro: int) -> None:
    rows = [row(i, 1 + i % 3, 1 + i % 5) for i in range(count)]
    for world in (1, 2, 4):
        for rank in range(world):
            batches = cut(rows, total=24, micro=micro, rank=rank, world=world)
            assert len(batches) == 24 // (micro * world)
            assert all(len(value) == micro for batch in batches for value in batch.values())


def test_processes_together_have_what_one_has() -> None:
    rows = [row(i, 1 + i % 3, 1 + i % 5, lag=i % 2) for i in range(10)]
    one = cut(rows, total=12, micro=2)
    for world in (2, 3):
        shares = [cut(rows, total=12, micro=2, rank=rank, world=world) for rank in range(world)]
        together = [batch for turn in zip(*shares, strict=True) for batch in turn]
        for mine, whole in zip(together, one, strict=True):
            assert mine.keys() == whole.keys()
            assert all(torch.equal(mine[name], whole[name]) for name in whole)


def test_order_in_which_rollouts_arrive_does_not_matter() -> None:
    rows = [row(i, 2, 3) for i in range(6)]
    for mine, whole in zip(cut(rows[::-1], 6, 2), cut(rows, 6, 2), strict=True):
        assert all(torch.equal(mine[name], whole[name]) for name in whole)


def by_tokens(
    rows: list[tuple[Rollout, int]], tokens: int, rank: int = 0, world: int = 1
) -> list[dict[str, torch.Tensor]]:
    rollouts, lags = [rollout for rollout, _ in rows], [lag for _, lag in rows]
    return token_micro_batches(rollouts, lags, tokens=tokens, rank=rank, world=world, pad_id=PAD)


def padded(batch: dict[str, torch.Tensor]) -> int:
    return batch["prompt_ids"].numel() + batch["completion_ids"].numel()


def test_a_budget_of_tokens_holds_many_short_rows_or_few_long_ones() -> None:
    rows = [row(1, 2, 3), row(2, 3, 2), row(3, 2, 8), row(4, 1, 30)]
    batches = by_tokens(rows, 18)
    assert [len(batch["advantages"]) for batch in batches] == [2, 1, 1]
    assert [padded(batch) for batch in batches] == [2 * (3 + 3), 10, 31]  # a row that is too long goes alone
    assert [len(batch["advantages"]) for batch in by_tokens(rows, 1000)] == [4]
    assert [len(batch["advantages"]) for batch in by_tokens(rows, 1)] == [1, 1, 1, 1]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("tokens", [1, 25, 60, 10_000])
def test_every_process_has_equally_many_and_together_they_have_each_row_once(tokens: int, world: int) -> None:
    rows = [row(i, 1 + i % 3, 1 + i * 7 % 11, lag=i % 2) for i in range(10)]
    shares = [by_tokens(rows, tokens, rank, world) for rank in range(world)]
    assert len({tuple(len(batch["advantages"]) for batch in share) for share in shares}) == 1
    batches = [batch for share in shares for batch in share]
    assert all(padded(batch) <= tokens or len(batch["advantages"]) == 1 for batch in batches)
    kept, filling = [], 0
    for batch in batches:
        counts = batch["completion_mask"].any(1)
        kept += batch["advantages"][counts].tolist()
        filling += int((~counts).sum())
        assert (batch["prompt_mask"][~counts].sum(1) == 1).all()
    assert sorted(kept) == pytest.approx([i / 10 for i in range(10)]) and filling == -10 % world


def test_a_step_without_rows_is_one_filler_in_every_process() -> None:
    for rank in range(3):
        (batch,) = by_tokens([], 100, rank, 3)
        assert batch["completion_mask"].sum() == 0 and padded(batch) == 2


@pytest.mark.parametrize(("total", "micro", "world"), [(4, 2, 1), (8, 3, 1), (8, 4, 3)])
def test_rows_that_do_not_fit_are_refused(total: int, micro: int, world: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        cut([row(i, 1, 1) for i in range(5)], total, micro, world=world)
