"""Which queries a step asks: every one once an epoch, the same whenever it is worked out."""

from __future__ import annotations

from collections import Counter

import pytest

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.reasoning.training.schedule import assignments, shards_of
from valor_ray.records import Query

QUERIES = [Query(f"q{i}", f"Question {i}?") for i in range(24)]


def grpo(*overrides: str):
    return Config.load("local", ["grpo.steps=6", *overrides]).grpo


def test_every_query_is_asked_once_an_epoch() -> None:
    plan = list(assignments(QUERIES, grpo(), shards=1))
    asked = Counter(
        query.query_id for assignment in plan[:3] for query in assignment.queries[: assignment.groups]
    )
    assert asked == {query.query_id: 1 for query in QUERIES}
    second = [query.query_id for assignment in plan[3:] for query in assignment.queries[: assignment.groups]]
    assert sorted(second) == sorted(asked) and second != list(asked)  # in another order


def test_orders_do_not_depend_on_where_the_run_goes_on() -> None:
    plan = list(assignments(QUERIES, grpo(), shards=2, audit_every=10))
    assert list(assignments(QUERIES, grpo(), shards=2, audit_every=10, first=4)) == [
        o for o in plan if o.step >= 4
    ]
    assert plan != list(assignments(QUERIES, grpo("grpo.seed=1"), shards=2, audit_every=10))


def test_shards_share_a_step_without_overlap() -> None:
    one = next(assignments(QUERIES, grpo(), shards=1))
    both = list(assignments(QUERIES, grpo(), shards=3))[:3]
    assert [assignment.groups for assignment in both] == [3, 3, 2]
    assert sorted(q.query_id for o in both for q in o.queries) == sorted(q.query_id for q in one.queries)
    assert len({assignment.seed for assignment in both}) == 3


def test_reserve_holds_other_queries_than_the_step() -> None:
    for assignment in assignments(QUERIES, grpo("grpo.reserve=0.5"), shards=1):
        assert assignment.groups == 8 and len({query.query_id for query in assignment.queries}) == 12


def test_one_canary_per_so_many_samples() -> None:
    plan = list(assignments(QUERIES, grpo(), shards=2, audit_every=100))
    assert sum(assignment.canaries for assignment in plan) == 6 * 64 // 100


def test_epochs_make_steps_where_none_are_given() -> None:
    assert grpo("grpo.steps=null", "grpo.epochs=4").number_of_steps(24) == 12


def test_fewer_queries_than_a_step_asks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"5 queries .* --set grpo.prompts=4"):
        next(assignments(QUERIES[:5], grpo(), shards=1))


@pytest.mark.parametrize(
    ("settings", "shards"),
    [
        (["policy.replicas=2"], 2),  # on a CPU as many as replicas: a replay is bit for bit the same
        (["policy.num_gpus=1", "policy.replicas=2"], 8),  # on GPUs work for replicas that come later
        (["policy.num_gpus=1", "policy.replicas=12", "grpo.prompts=64"], 48),
        (["policy.num_gpus=1", "grpo.prompts=4"], 4),  # no shard without a query
        (["grpo.shards=6", "policy.num_gpus=1"], 6),
        (["grpo.shards=100"], 8),
    ],
)
def test_shards_are_apart_from_replicas_where_nothing_is_bit_exact(settings: list[str], shards: int) -> None:
    assert shards_of(Config.load("local", ["grpo.prompts=8", *settings])) == shards
