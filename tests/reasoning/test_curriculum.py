"""Queries drawn by what can still be learnt: which come more often, which less, that none is forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from made_up_learners import simulate
from rollout_of import rollout_of

from valor_ray.config.tree import Config
from valor_ray.reasoning.curriculum import Learnability, visits
from valor_ray.reasoning.training.schedule import dealt
from valor_ray.records import Query, Rollout

QUERIES = [Query(f"q{i}", f"Question {i}?") for i in range(24)]
HALF, FEW, NONE, ALL = (1, 0, 1, 0, 1, 0, 1, 0), (1, 0, 0, 0, 0, 0, 0, 0), (0,) * 8, (1,) * 8


GRPO = Config.load("local", ["grpo.prompts=4", "grpo.reserve=0.5", "grpo.max_lag=0"]).grpo


def chooser(**settings: float) -> Learnability:
    return Learnability(QUERIES, GRPO.model_copy(update=settings))


def group(
    step: int, query: int, rewards: Sequence[float | None], place: int = 0, shard: int = 0
) -> list[Rollout]:
    return [
        rollout_of(step, shard, place, sample, query_id=f"q{query}", value=value)
        for sample, value in enumerate(rewards)
    ]


def first_step(rewards: dict[int, Sequence[float | None]]) -> list[Rollout]:
    """Groups of step 1, of the queries named."""
    return [row for place, query in enumerate(rewards) for row in group(1, query, rewards[query], place)]


def ids(chosen: Learnability, step: int) -> list[str]:
    return [query.query_id for query in chosen.order(step)]


def asked(rows: Sequence[Rollout], step: int, seeds: int = 400) -> Counter[str]:
    """In how many of so many seeds the step's first four queries have each."""
    count: Counter[str] = Counter()
    for seed in range(seeds):
        one = chooser(seed=seed)
        one.saw(rows)
        count.update(ids(one, step)[:4])
    return count


ROWS = first_step(
    {query: (HALF, FEW, NONE, ALL)[query % 4] for query in range(16)}
)  # 16 to 23 were not asked


def kinds(count: Counter[str]) -> list[float]:
    """Mean count of the queries that came out half, few, none, all, and of those not asked."""
    means = [sum(count[f"q{query}"] for query in range(kind, 16, 4)) / 4 for kind in range(4)]
    return [*means, sum(count[f"q{query}"] for query in range(16, 24)) / 8]


def test_queries_near_half_come_more_often_and_those_all_equal_less() -> None:
    half, few, none, all_right, unasked = kinds(asked(ROWS, 2))
    assert half > 1.4 * few and few > 1.5 * max(none, all_right)
    assert half > 4 * max(none, all_right) and unasked > 3 * max(none, all_right)


def test_no_query_is_forgotten() -> None:
    count = asked(ROWS, 2, seeds=1500)
    assert (
        min(count[query.query_id] for query in QUERIES) > 15
    )  # a query's share of chance alone would be 250


def test_query_all_equal_once_returns_after_a_while() -> None:
    def share(step: int) -> float:
        """Of queries that came out equal, against those never asked."""
        _, _, none, all_right, unasked = kinds(asked(ROWS, step))
        return (none + all_right) / 2 / unasked

    assert share(2) < 0.4 and share(60) == pytest.approx(1, abs=0.3)


def test_rewards_of_any_scale_choose_alike() -> None:
    whole, slight = chooser(), chooser()
    whole.saw(ROWS)
    slight.saw([replace(row, value=0.9 + 0.05 * (row.value or 0)) for row in ROWS])
    assert [ids(whole, step) for step in range(2, 30)] == [ids(slight, step) for step in range(2, 30)]


def test_missing_rewards_are_held_against_no_query() -> None:
    rows = first_step({0: (None,) * 8, 1: (1, *(None,) * 7), 2: NONE, 3: ALL})
    assert {visit.query_id for visit in visits(rows)} == {"q2", "q3"}
    count = asked(rows, 2)
    assert min(count["q0"], count["q1"]) > 2 * max(count["q2"], count["q3"])


def test_few_known_rewards_tell_less_than_many() -> None:
    count = asked(first_step({0: (0, 0, *(None,) * 6), 1: NONE, 2: HALF}), 2)
    assert count["q1"] < 0.8 * count["q0"]


def test_a_step_is_drawn_by_seed_and_records_alone() -> None:
    rows = [
        row for step in range(1, 6) for row in group(step, 3 * step % 24, HALF) + group(step, step, NONE, 1)
    ]
    one, again, other = chooser(), chooser(), chooser(seed=1)
    for each in (one, other):
        each.saw(rows)
    for start in reversed(
        range(0, len(rows), 8)
    ):  # as a resume may tell it: the last group first, some of it twice
        again.saw(rows[start : start + 8])
    again.saw(rows[:16])
    backwards = {step: ids(again, step) for step in reversed(range(1, 8))}
    assert {step: ids(one, step) for step in range(1, 8)} == backwards
    assert ids(one, 6) != ids(other, 6) and ids(one, 6) != ids(one, 7)


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_records_of_later_steps_than_the_lag_allows_change_nothing(lag: int) -> None:
    """A killed run knows more of them when it asks again than it did the first time."""
    then, now = chooser(max_lag=lag), chooser(max_lag=lag)
    for step in range(1, 12):
        rows = group(step, step, NONE) + group(step, 2 * step, HALF, 1)
        now.saw(rows)
        if step <= 8 - 1 - lag:
            then.saw(rows)
    assert ids(then, 8) == ids(now, 8) and then.figures(8) == now.figures(8)


def test_step_and_reserve_hold_different_queries() -> None:
    one = chooser()
    one.saw(ROWS)
    for step in range(1, 20):
        assert len(set(ids(one, step))) == len(ids(one, step)) == 6
    assert len(chooser(reserve=100).order(1)) == 24  # no more than there are


def test_shards_share_a_step_without_overlap() -> None:
    order = chooser().order(1)
    for shards in (1, 2, 3):
        parts = [dealt(order, 4, shard, shards) for shard in range(shards)]
        assert sorted(query.query_id for part in parts for query in part) == sorted(ids(chooser(), 1))
        mains = [part[: len(range(shard, 4, shards))] for shard, part in enumerate(parts)]
        assert {query for main in mains for query in main} == set(order[:4])


def test_before_anything_is_known_all_queries_are_alike() -> None:
    count = asked([], 1, seeds=1200)
    assert all(count[query.query_id] == pytest.approx(200, abs=60) for query in QUERIES)
    assert chooser().figures(1) == {"visited": 0.0, "learnability": None}


def test_figures_tell_what_was_visited_and_what_is_expected() -> None:
    one = chooser()
    one.saw(ROWS)
    figures = one.figures(2)
    assert figures["visited"] == pytest.approx(16 / 24, abs=1e-6)
    assert figures["learnability"] is not None and 0 < figures["learnability"] < 0.3


def test_nothing_but_equal_groups_is_no_error() -> None:
    one = chooser()
    one.saw(first_step({query: NONE for query in range(24)}))
    assert len(one.order(2)) == 6 and len(one.order(5000)) == 6


def test_made_up_learner_gets_more_useful_groups_than_by_shuffling() -> None:
    start = "a third known, a third out of reach"
    shuffled, chosen = (
        [simulate(how, start, seed, queries=60, prompts=6, steps=60) for seed in range(3)]
        for how in ("shuffled", "learnability")
    )
    assert sum(run.useful for run in chosen) > 1.15 * sum(run.useful for run in shuffled)
    assert sum(run.success for run in chosen) > sum(run.success for run in shuffled)
    assert not any(run.never for run in chosen)
