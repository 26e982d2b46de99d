"""What each training step asks: queries shuffled per epoch by the seed, or chosen when its turn comes (curriculum)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from valor_ray.config.training import GrpoConfig
    from valor_ray.config.tree import Config
    from valor_ray.records import Query

T = TypeVar("T")
_GPU_SHARDS = 8  # of a step, at least, where engines have GPUs: more replicas than at the start find work
_SHARDS_EACH = 4  # and of each replica: Serve spreads few large ones unevenly


@dataclass(frozen=True)
class Assignment:
    """Work for one rollout worker: a shard of a step's groups."""

    step: int  # 1-based: step s makes version s out of version s - 1
    shard: int  # 0-based
    groups: int  # useful groups wanted
    queries: tuple[
        Query, ...
    ]  # `groups` of them, then the reserve; a curriculum puts others here (buffer.turn)
    seed: int  # of its samples
    canaries: int = 0  # replies with known verdicts to be judged among them

    @property
    def assignment_id(self) -> str:
        return assignment_name(self.step, self.shard)


def assignment_name(step: int, shard: int) -> str:
    """Name of an assignment: its files in `samples/`, the start of its rollout_ids."""
    return f"s{step:06d}-{shard}"


def shards_of(config: Config) -> int:
    """Assignments of a step in a run that these settings start.

    Engines on a CPU get one each, in which a replay is bit for bit the same; on GPUs nothing is, and a replica that
    comes in mid-run is to take work.
    """
    policy, grpo = config.policy, config.grpo
    usual = policy.replicas if policy.exact else max(_GPU_SHARDS, _SHARDS_EACH * policy.replicas)
    return min(grpo.shards or usual, grpo.prompts)


def check_enough(config: GrpoConfig, queries: int) -> None:
    """Raises ConfigError when there are fewer queries than a step asks, with a number that would do."""
    if queries >= config.prompts:
        return
    cut = 1 if config.micro_batch_tokens is not None else config.micro_batch * config.workers
    most = next((n for n in range(queries, 0, -1) if n * config.samples % cut == 0), None)
    less = f", or --set grpo.prompts={most}" if most else ""
    raise ConfigError(
        f"There are {queries} queries and a step asks {config.prompts} different ones. Give more queries{less}."
    )


def assignments(
    queries: Sequence[Query], config: GrpoConfig, shards: int, audit_every: int = 0, first: int = 1
) -> Iterator[Assignment]:
    """The assignments of steps `first` .. last, in order. Each is a function of seed, step and shard alone.

    Raises ConfigError when there are fewer queries than a step asks.
    """
    count = config.prompts
    check_enough(config, len(queries))
    shards = min(shards, count)
    each = config.samples * count / shards  # samples of an assignment
    for step in range(first, config.number_of_steps(len(queries)) + 1):
        main = [_nth(config.seed, len(queries), (step - 1) * count + i) for i in range(count)]
        others = np.random.default_rng([config.seed, 1, step]).permutation(len(queries))
        chosen = set(main)
        further = (int(i) for i in others if int(i) not in chosen)
        reserve = list(islice(further, math.ceil(config.reserve * count)))
        for shard in range(shards):
            mine = dealt(main + reserve, count, shard, shards)
            nth = (step - 1) * shards + shard
            yield Assignment(
                step,
                shard,
                len(main[shard::shards]),
                tuple(queries[i] for i in mine),
                int(np.random.default_rng([config.seed, 2, step, shard]).integers(2**31)),
                int((nth + 1) * each / audit_every) - int(nth * each / audit_every) if audit_every else 0,
            )


def dealt(order: Sequence[T], count: int, shard: int, shards: int) -> Sequence[T]:
    """A shard's part of a step's queries, which are the first `count`, and then of the reserve."""
    return [*order[:count][shard::shards], *order[count:][shard::shards]]


_shuffled: dict[tuple[int, int, int], np.ndarray] = {}


def _nth(seed: int, count: int, position: int) -> int:
    """The query at a position of the endless run of epochs, each epoch in an order of its own."""
    epoch, place = divmod(position, count)
    key = (seed, count, epoch)
    if key not in _shuffled:
        _shuffled.clear()  # positions go up: one epoch is enough
        _shuffled[key] = np.random.default_rng([seed, 0, epoch]).permutation(count)
    return int(_shuffled[key][place])
