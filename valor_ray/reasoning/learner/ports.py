"""What the learner asks of those who run it: the rollouts of each step. New weights leave by runs.weight_channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from valor_ray.records import Rollout


@dataclass(frozen=True)
class StepBatch:
    """What the learner gets for one step: the same for each of its processes, and whenever they ask again.

    RolloutBuffer.batch makes it, or a replay; it is pickled to the learner, which cuts it into micro-batches.
    `rows` are in the order shard, group, sample, so that equal rollouts give equal steps.
    """

    step: int
    rows: list[Rollout]  # to train on
    all_rows: list[Rollout]  # those without use too, for the step's figures
    # groups, equal_groups, refilled, useful_groups, dropped_missing, dropped_stale; with a curriculum its figures too
    counts: Mapping[str, float | None]
    lags: list[int]  # of `rows`: how many updates older than the newest weights its oldest token is
    sample_s: float  # of the slowest shard, as is judge_s
    judge_s: float


@dataclass(frozen=True)
class Leave:
    """In place of a step's rollouts: the machine of a learner process is about to be taken away.

    Every process of the learner gets it for the same step. What was learnt is saved, then `LearnerLeaves` is raised.
    """


class LearningStopped(Exception):
    """Learning ends here; the checkpoints of earlier steps stay."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LearnerLeaves(Exception):
    """The learner's processes end here, after a checkpoint of `step`, to be begun again on other machines."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the learner leaves after step {step}")
        self.step = step


class BatchSource(Protocol):
    """Where a step's rollouts come from: the buffer of a run, or a recording.

    Called by every learner process; all of them get the same rows for the same step.
    `batch` blocks until the step's rollouts are there; `checkpointed` blocks on nothing but the call.
    """

    def batch(self, step: int) -> StepBatch | Leave | None:
        """What `step` trains on. None: the run has been stopped."""
        ...

    def checkpointed(self, step: int) -> None:
        """A checkpoint holds `step`: nobody asks for it or an earlier one again. By the first process only."""
        ...
