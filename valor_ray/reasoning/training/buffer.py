"""Between rollout workers and learner: whose turn it is, what a step trains on, and what has become too old for it.

A pure asyncio object: an actor on Ray, a plain object in one process. Steps are 1-based; step s makes version s out of
version s - 1, so a sample of version v is `s - 1 - v` steps old when it is trained on.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from valor_ray.reasoning.training.advantage import Use
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.runs.publications import version_step


@dataclass
class StepBatch:
    """What the learner gets for one step."""

    step: int
    rows: list[dict[str, Any]]  # rollouts to train on, each with its `lag`, in a fixed order
    all_rows: list[dict[str, Any]]  # those without use too, for the step's figures
    counts: dict[str, int]  # groups, equal_groups, refilled, dropped_missing, dropped_stale
    lags: list[int]  # of `rows`
    sample_s: float
    judge_s: float
    wait_s: float = 0.0


@dataclass
class _Step:
    outcomes: dict[int, RolloutResult] = field(default_factory=dict)  # by shard
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    chosen: StepBatch | None = None  # what the first learner process got, and so every other one gets


class RolloutBuffer:
    """Belongs to one event loop."""

    def __init__(self, max_lag: int | None, shards: int, groups: int, patience_s: float) -> None:
        """max_lag: None takes samples of the start weights at every step, as when they are replayed.

        groups: useful ones a step wants. patience_s: how long a step waits for a shard once it has others.
        """
        self._max_lag, self._shards, self._groups, self._patience_s = max_lag, shards, groups, patience_s
        self._published = -1
        self._first = 1  # the earliest step that may still be asked for
        self._steps: dict[int, _Step] = defaultdict(_Step)
        self._moved = asyncio.Condition()
        self._stopped: str | None = None
        self.late = 0  # rollouts that came after their step

    async def published(self, step: int) -> None:
        """Version `step` is carried by every replica. A learner that starts again may go back."""
        async with self._moved:
            self._published = step
            self._moved.notify_all()

    async def turn(self, step: int) -> bool:
        """Wait until step's samples may be taken. False: the run has stopped, nothing is to be sampled any more."""
        async with self._moved:
            await self._moved.wait_for(
                lambda: (
                    self._stopped is not None
                    or (self._published >= 0 and step - 1 - self._published <= (self._max_lag or 0))
                )
            )
            return self._stopped is None

    async def put(self, outcome: RolloutResult) -> None:
        """The rollouts of an assignment, recorded. Those of a step that is over count as too old."""
        if outcome.step < self._first:
            self.late += sum(row["fate"] == Use.USED for row in outcome.rollouts)
            return
        step = self._steps[outcome.step]
        step.outcomes.setdefault(outcome.shard, outcome)
        step.changed.set()

    async def batch(self, step: int) -> StepBatch | None:
        """What step trains on, when it is complete. None: the run has stopped.

        A shard that does not come for `patience_s` after the first one is done without: its rows are late then.
        """
        start, first_at = time.monotonic(), None
        waiting = self._steps[step]
        while waiting.chosen is None and len(waiting.outcomes) < self._shards and self._stopped is None:
            waiting.changed.clear()
            if waiting.outcomes and first_at is None:
                first_at = time.monotonic()
            left = None if first_at is None else first_at + self._patience_s - time.monotonic()
            if left is not None and left <= 0:
                break
            try:
                await asyncio.wait_for(waiting.changed.wait(), left)
            except TimeoutError:
                break
        if waiting.chosen is None:
            if self._stopped is not None:
                return None
            waiting.chosen = self._choose(
                step, [waiting.outcomes[shard] for shard in sorted(waiting.outcomes)]
            )
            waiting.chosen.wait_s = time.monotonic() - start
        return waiting.chosen

    async def checkpointed(self, step: int) -> None:
        """A checkpoint holds step: nobody will ask for it or an earlier one again."""
        self._first = max(self._first, step + 1)
        for old in [known for known in self._steps if known <= step]:
            del self._steps[old]

    async def stop(self, reason: str) -> None:
        """The learner is done or has given up: everybody who waits is let go."""
        async with self._moved:
            self._stopped = reason
            self._moved.notify_all()
        for step in self._steps.values():
            step.changed.set()

    def _choose(self, step: int, outcomes: Sequence[RolloutResult]) -> StepBatch:
        every = [row for outcome in outcomes for row in outcome.rollouts]
        used = [row for row in every if row["fate"] == Use.USED]
        most = self._max_lag
        if most is None:
            fresh = [(row, step - 1) for row in used]
        else:
            ages = [step - 1 - min(version_step(version) for version, _ in row["versions"]) for row in used]
            fresh = [(row, age) for row, age in zip(used, ages, strict=True) if age <= most]
        groups = {(row["shard"], row["group"]) for row in every}
        useful = {(row["shard"], row["group"]) for row in used}
        fates = Counter(row["fate"] for row in every)
        late, self.late = self.late, 0
        counts = {
            "groups": len(groups),
            "equal_groups": len({(row["shard"], row["group"]) for row in every if row["fate"] == Use.EQUAL}),
            "refilled": max(0, len(groups) - self._groups),
            "useful_groups": len(useful),
            "dropped_missing": fates[Use.MISSING],
            "dropped_stale": len(used) - len(fresh) + late,
        }
        return StepBatch(
            step,
            [row | {"lag": age} for row, age in fresh],
            every,
            counts,
            [age for _, age in fresh],
            max((outcome.sample_s for outcome in outcomes), default=0.0),
            max((outcome.judge_s for outcome in outcomes), default=0.0),
        )
