"""Which queries a step asks, where they are chosen by what can still be learnt from them: `grpo.curriculum`.

Learnability is the variance of a query's reward under the policy, p (1 - p) for rewards of 0 and 1: greatest near half,
none where a group comes out equal. Sampling by it: Tzannetos et al. 2023 (arXiv 2304.12877), Rutherford et al. 2024
(2408.15099), Foster et al. 2025 (2502.12272). How it is estimated from few, ageing rewards is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from valor_ray.records import Query, Rollout

if TYPE_CHECKING:
    from valor_ray.config.training import GrpoConfig

_FLOOR = 0.1  # part of every query's weight, as a share of what a useful group varies by: none is forgotten
_PRIOR = 1.0  # rewards that would tell as much as the belief that a query is as useful as useful ones are
_HALF_LIFE = 1.0  # of what a visit tells, in epochs (queries / prompts steps)
_LARGEST = 0.25  # variance of rewards 0..1
_EQUAL = 1e-9  # as in training.advantage


@dataclass(frozen=True)
class Visit:
    """What the rewards of one group told of its query."""

    step: int
    shard: int
    group: int
    query_id: str
    squares: float  # of the known rewards' distances from their mean, summed
    freedom: int  # known rewards less one, at least 1


def visits(rollouts: Iterable[Rollout]) -> list[Visit]:
    """Of the groups with at least two known rewards: what is missing tells nothing of a query."""
    groups: dict[tuple[int, int, int, str], list[float]] = {}
    for rollout in rollouts:
        if rollout.value is not None:
            place = (rollout.step, rollout.shard, rollout.group, rollout.query_id)
            groups.setdefault(place, []).append(rollout.value)
    return [
        Visit(*place, _squares(rewards), len(rewards) - 1)
        for place, rewards in groups.items()
        if len(rewards) > 1
    ]


def _squares(rewards: Sequence[float]) -> float:
    if max(rewards) - min(rewards) < _EQUAL:
        return 0.0
    mean = sum(rewards) / len(rewards)
    return sum((reward - mean) ** 2 for reward in rewards)


class Learnability:
    """The queries of each step, drawn by how much their rewards are expected to vary.

    The buffer tells it what each step trained on (`saw`) and asks it, when a step's turn comes, what to ask (`order`).
    A step s is drawn by the visits of steps up to s - 1 - max_lag, which are all recorded by then, whatever else is
    known: the same seed and records give the same queries, after a resume too. Waits for nobody; pickled to the buffer.
    """

    def __init__(self, queries: Sequence[Query], config: GrpoConfig) -> None:
        self._queries = tuple(queries)
        self._index = {query.query_id: i for i, query in enumerate(self._queries)}
        self._seed, self._behind = config.seed, config.max_lag + 1
        self._drawn = config.prompts + math.ceil(config.reserve * config.prompts)
        self._half_life = _HALF_LIFE * max(1.0, len(self._queries) / config.prompts)  # steps
        self._prompts = config.prompts
        self._visits: dict[tuple[int, int, int], Visit] = {}
        self._orders: dict[int, np.ndarray] = {}

    def saw(self, rollouts: Iterable[Rollout]) -> None:
        for visit in visits(rollouts):
            self._visits[visit.step, visit.shard, visit.group] = visit

    def order(self, step: int) -> list[Query]:
        """The step's `grpo.prompts` queries and then its reserve, all different; the same for all who ask."""
        return [self._queries[i] for i in self._order(step)]

    def figures(self, step: int) -> dict[str, float | None]:
        """visited: share of the queries that any reward was known of when the step was drawn; learnability: the
        variance of reward that its queries were expected to have, None before there is any visit."""
        seen = self._seen(step)
        if not seen:
            return {"visited": 0.0, "learnability": None}
        expected, _ = self._expected(seen, step)
        asked = expected[self._order(step)[: self._prompts]]
        return {
            "visited": round(len({visit.query_id for visit in seen}) / len(self._queries), 6),
            "learnability": round(float(asked.mean()), 6),
        }

    def _order(self, step: int) -> np.ndarray:
        """Indices, drawn without replacement (Gumbel top-k: Kool et al. 2019, arXiv 1903.06059)."""
        if step not in self._orders:
            expected, typical = self._expected(self._seen(step), step)
            noise = np.random.default_rng([self._seed, 3, step]).gumbel(size=len(self._queries))
            keys = np.log(_FLOOR * typical + expected) + noise
            self._orders[step] = np.argsort(-keys, kind="stable")[: self._drawn]
        return self._orders[step]

    def _seen(self, step: int) -> list[Visit]:
        """In an order that does not depend on when they were told."""
        known = sorted(place for place in self._visits if place[0] <= step - self._behind)
        return [self._visits[place] for place in known]

    def _expected(self, seen: Sequence[Visit], step: int) -> tuple[np.ndarray, float]:
        """Each query's variance of reward, (queries,), and that of useful groups, which is the prior.

        Pooled over a query's visits, the older the less, with the prior as if `_PRIOR` rewards had shown it: a query
        that was never asked, or long ago, counts as a useful one.
        """
        index = np.array([self._index[visit.query_id] for visit in seen], np.int64)
        kept = 0.5 ** ((step - np.array([visit.step for visit in seen])) / self._half_life)
        squares = kept * np.array([visit.squares for visit in seen])
        freedom = kept * np.array([visit.freedom for visit in seen])
        useful = squares > 0
        typical = float(squares.sum() / freedom[useful].sum()) if useful.any() else _LARGEST
        count = len(self._queries)
        above = _PRIOR * typical + np.bincount(index, squares, count)
        return above / (_PRIOR + np.bincount(index, freedom, count)), typical
