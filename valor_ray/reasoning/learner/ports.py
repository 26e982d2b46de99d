"""What the learner asks of those who run it: the rollouts of each step. New weights leave by runs.weight_channel."""

from __future__ import annotations

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
    counts: dict[str, int]  # groups, equal_groups, refilled, useful_groups, dropped_missing, dropped_stale
    lags: list[int]  # of `rows`: how many updates older than the newest weights its oldest token is
    sample_s: float  # of the slowest shard, as is judge_s
    judge_s: float


class BatchSource(Protocol):
    """Where a step's rollouts come from: the buffer of a run, or a recording.

    Called by every learner process; all of them get the same rows for the same step.
    `batch` blocks until the step's rollouts are there; `checkpointed` blocks on nothing but the call.
    """

    def batch(self, step: int) -> StepBatch | None:
        """What `step` trains on. None: the run has been stopped."""
        ...

    def checkpointed(self, step: int) -> None:
        """A checkpoint holds `step`: nobody asks for it or an earlier one again. By the first process only."""
        ...
