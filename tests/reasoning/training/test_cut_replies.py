"""Replies cut at the token limit: said with the setting and the share, and the end of a run where all of them are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rollout_of import rollout_of

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.reasoning.training.cut_replies import CutReplies
from valor_ray.reasoning.training.rollout import RolloutResult

LIMIT = 12


def outcome(
    cuts: Sequence[bool], step: int = 1, shard: int = 0, tokens: int = LIMIT, formed: bool = False
) -> RolloutResult:
    rows = [
        rollout_of(
            step, shard, 0, place, finish_reason="length" if cut else "stop", format=formed or not cut,
            token_ids=(1,) * (tokens if cut else 3), logprobs=(-0.1,) * (tokens if cut else 3),
        )
        for place, cut in enumerate(cuts)
    ]  # fmt: skip
    return RolloutResult(step, shard, rows, [], 0.0, 0.0)


def watch(shards: int = 1) -> CutReplies:
    return CutReplies(Config.load("local", [f"grpo.max_tokens={LIMIT}"]), shards)


def test_a_step_whose_replies_are_all_cut_ends_the_run() -> None:
    with pytest.raises(
        ConfigError, match=r"All 4 replies of step 1 were cut at grpo\.max_tokens 12: none .* \(--run\)"
    ):
        watch().add(outcome([True] * 4))


def test_a_large_share_is_said_once_and_again_when_it_has_grown() -> None:
    cuts = watch()
    assert cuts.add(outcome([False] * 20)) == "" == cuts.add(outcome([True] + [False] * 19, 2))
    said = cuts.add(outcome([True] * 3 + [False] * 7, 3))
    assert said.startswith("WARNING: 3 of 10 replies of step 3 (30%) were cut at grpo.max_tokens 12.")
    assert cuts.add(outcome([True] * 4 + [False] * 6, 4)) == ""
    assert "(60%)" in cuts.add(outcome([True] * 6 + [False] * 4, 5))


def test_a_step_is_looked_at_when_all_of_its_shards_are_there() -> None:
    cuts = watch(shards=2)
    assert cuts.add(outcome([True] * 4, 1, 0)) == "" == cuts.add(outcome([True] * 4, 2, 0))
    assert "4 of 8 replies of step 1" in cuts.add(outcome([False] * 4, 1, 1))
    with pytest.raises(ConfigError, match="All 8 replies of step 2"):
        cuts.add(outcome([True] * 4, 2, 1))


def test_what_has_room_for_its_program_before_the_limit_may_go_on() -> None:
    assert "4 of 4 replies" in watch().add(outcome([True] * 4, formed=True))


def test_a_full_context_is_named_where_it_was_that_which_cut_them() -> None:
    config = Config.load("local", [f"grpo.max_tokens={LIMIT}"]).policy
    said = watch().add(outcome([True] * 2 + [False] * 2, tokens=LIMIT - 1))
    assert f"were cut at policy.max_model_len {config.max_model_len} (prompt and reply together)" in said
