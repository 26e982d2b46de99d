"""Between rollout workers and learner: whose turn it is, what a step trains on, and what has become too old for it.

A pure asyncio object: an actor on Ray, a plain object in one process. Steps are 1-based; step s makes version s out of
version s - 1, so a sample of version v is `s - 1 - v` steps old when it is trained on.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from valor_ray.reasoning.curriculum import Learnability
from valor_ray.reasoning.learner.ports import Leave, StepBatch
from valor_ray.reasoning.training.advantage import Use
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.reasoning.training.schedule import Assignment, dealt
from valor_ray.records import Rollout
from valor_ray.runs.publications import version_step


@dataclass
class _Step:
    outcomes: dict[int, RolloutResult] = field(default_factory=dict)  # by shard
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    chosen: StepBatch | None = None  # what the first learner process got, and so every other one gets


class RolloutBuffer:
    """Holds rollouts back until their turn, and steps until they are complete; drops what is older than the lag.

    Rollout workers call `turn` (which waits for the publication that they need) and the driver `put`; the learner calls
    `batch` (which waits for all shards), `published` and `checkpointed`. Belongs to one event loop.
    """

    def __init__(
        self,
        max_lag: int | None,
        shards: int,
        groups: int,
        patience_s: float,
        curriculum: Learnability | None = None,
    ) -> None:
        """max_lag: None takes samples of the start weights at every step, as when they are replayed.

        groups: useful ones a step wants. patience_s: how long a step waits for a shard once it has others.
        curriculum: chooses what is asked, knowing what steps that checkpoints hold have shown; None: nobody does.
        """
        self._curriculum = curriculum
        self._max_lag, self._shards, self._groups, self._patience_s = max_lag, shards, groups, patience_s
        self._published = -1
        self._first = 1  # the earliest step that may still be asked for
        self._steps: dict[int, _Step] = defaultdict(_Step)
        self._moved = asyncio.Condition()
        self._stopped: str | None = None
        self._leaving: set[str] = set()  # starts of the learner that are to leave their machines
        self._given: Counter[str] = (
            Counter()
        )  # by start of the learner: the newest step that a process of it got
        self.late = 0  # rollouts that came after their step

    async def published(self, step: int) -> None:
        """Version `step` is carried by every replica. A learner that starts again may go back."""
        async with self._moved:
            self._published = step
            self._moved.notify_all()

    async def turn(self, assignment: Assignment) -> Assignment | None:
        """Wait until its samples may be taken; then it, with the queries that the curriculum chooses, if there is one.

        None: the run has stopped, nothing is to be sampled any more.
        """
        step = assignment.step
        async with self._moved:
            await self._moved.wait_for(
                lambda: (
                    self._stopped is not None
                    or (self._published >= 0 and step - 1 - self._published <= (self._max_lag or 0))
                )
            )
            if self._stopped is not None:
                return None
        if self._curriculum is None:
            return assignment
        order = self._curriculum.order(step)
        mine = dealt(order, self._groups, assignment.shard, self._shards)
        return replace(assignment, queries=tuple(mine))

    async def put(self, outcome: RolloutResult) -> None:
        """The rollouts of an assignment, recorded. Those of a step that is over count as too old."""
        if outcome.step < self._first:
            self.late += sum(rollout.fate == Use.USED for rollout in outcome.rollouts)
            return
        step = self._steps[outcome.step]
        step.outcomes.setdefault(outcome.shard, outcome)
        step.changed.set()

    async def batch(self, step: int, start: str = "") -> StepBatch | Leave | None:
        """What step trains on, when it is complete. None: the run has stopped. start: which start of the learner asks:
        from `leave` on, all its processes get Leave, for the same step.

        A shard that does not come for `patience_s` after the first one is done without: its rows are late then.
        """
        first_at = None
        waiting = self._steps[step]
        while (
            waiting.chosen is None
            and len(waiting.outcomes) < self._shards
            and self._stopped is None
            and not self._leaves(start, step)
        ):
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
        if self._leaves(start, step):
            return Leave()
        if waiting.chosen is None:
            if self._stopped is not None:
                return None
            outcomes = [waiting.outcomes[shard] for shard in sorted(waiting.outcomes)]
            waiting.chosen = self._choose(step, outcomes)
        self._given[start] = max(step, self._given[start])
        return waiting.chosen

    def _leaves(self, start: str, step: int) -> bool:
        """Not before a step that another process of this start has got."""
        return start in self._leaving and step > self._given[start]

    async def leave(self, start: str) -> None:
        """A machine of that start of the learner is about to be taken away."""
        self._leaving.add(start)
        for step in self._steps.values():
            step.changed.set()

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
        every = [rollout for outcome in outcomes for rollout in outcome.rollouts]
        used = [rollout for rollout in every if rollout.fate == Use.USED]
        fresh = [(rollout, age) for rollout in used if (age := self._age(rollout, step)) is not None]
        groups = _groups(every)
        fates = Counter(rollout.fate for rollout in every)
        late, self.late = self.late, 0
        counts: dict[str, float | None] = {
            "groups": len(groups),
            "equal_groups": len(_groups([rollout for rollout in every if rollout.fate == Use.EQUAL])),
            "refilled": max(0, len(groups) - self._groups),
            "useful_groups": len(_groups(used)),
            "dropped_missing": fates[Use.MISSING],
            "dropped_stale": len(used) - len(fresh) + late,
        }
        if self._curriculum is not None:
            counts |= self._curriculum.figures(step)
            self._curriculum.saw(every)  # nothing that comes later: all shards of a step choose by the same
        return StepBatch(
            step,
            [rollout for rollout, _ in fresh],
            every,
            counts,
            [age for _, age in fresh],
            max((outcome.sample_s for outcome in outcomes), default=0.0),
            max((outcome.judge_s for outcome in outcomes), default=0.0),
        )

    def _age(self, rollout: Rollout, step: int) -> int | None:
        """How old it is when `step` trains on it, by its oldest token; None: too old."""
        if self._max_lag is None:
            return step - 1
        age = step - 1 - min(version_step(version) for version, _ in rollout.versions)
        return age if age <= self._max_lag else None


def _groups(rollouts: Iterable[Rollout]) -> set[tuple[int, int]]:
    """(shard, group) of each."""
    return {(rollout.shard, rollout.group) for rollout in rollouts}
