"""What carries a training run: Ray (deployments/reasoning.py), or one process (local.py)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from valor_ray.ports import Policy, Sampler
from valor_ray.reasoning.reward import Rewarding
from valor_ray.reasoning.training.buffer import RolloutBuffer
from valor_ray.reasoning.training.rollout import KeptSamples, RolloutResult, roll_out
from valor_ray.records import Sampling

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.reasoning.curriculum import Learnability
    from valor_ray.reasoning.learner.learn import LearnerEnd
    from valor_ray.reasoning.training.folder import TrainFolder
    from valor_ray.reasoning.training.schedule import Assignment
    from valor_ray.wiring import Eyes

T = TypeVar("T")
_AFTER_PATIENCE_S = 60.0  # a reward that takes longer than the judge's own patience and this hangs


@dataclass(frozen=True)
class TrainWork:
    """A run's work from here on."""

    config: Config
    folder: TrainFolder
    steps: int  # of the whole run
    assignments: Sequence[Assignment]  # not recorded yet
    recorded: Sequence[RolloutResult]  # of steps that have no checkpoint yet
    record: Callable[[RolloutResult], None]  # appends to the run folder
    step_done: Callable[[Mapping[str, Any]], None]  # takes a metrics record
    say: Callable[[str], None]
    shards: int = 1  # assignments of a step
    learner: bool = True  # False: rollouts only
    curriculum: Learnability | None = (
        None  # for the buffer; has seen the steps that the newest checkpoint holds
    )


class SampledPolicy(Policy, Sampler, Protocol):
    """Both ways to ask the engines of a run."""


class RunningHost(Protocol):
    """A host whose parts are up: policy replicas, judge and sandbox answer.

    `train` calls it in the driver, one method at a time: evaluate, learn, evaluate.
    Each method waits for its own work; `learn` for all steps that are left.
    """

    @property
    def policy(self) -> SampledPolicy:
        """As the service answers, for evaluation; in batches, for the choice of a checkpoint."""
        ...

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that uses `policy` to its end."""
        ...

    def eyes(self) -> AbstractAsyncContextManager[Eyes]:
        """Detector and depth model for the evaluation, there for as long as the block lasts; entered within `call`.

        Raises ConfigError, CheckpointError, ServiceError when they do not start.
        """
        ...

    def carry(self, step: int, folder: Path) -> None:
        """Have every replica carry the weights of a checkpoint. Raises PolicyError, CheckpointError."""
        ...

    def learn(self, work: TrainWork) -> LearnerEnd:
        """Raises ValorError of what failed for good."""
        ...


class TrainHost(Protocol):
    """What carries a run, on one machine or many: training/local.py, deployments/reasoning.py.

    The command makes one, and `train` enters `running` once, after it has checked what the user gave.
    Entering waits until all parts are up; leaving takes down what was started, whatever happened.
    """

    def running(
        self, config: Config, folder: TrainFolder, say: Callable[[str], None]
    ) -> AbstractContextManager[RunningHost]:
        """The engine for as long as the block lasts. Raises ValorError when a part does not start."""
        ...


@dataclass
class RolloutStep:
    """The step from an assignment to its outcome, on whatever stands behind its ports."""

    config: Config
    sampler: Sampler
    rewarder: Rewarding
    kept_samples: KeptSamples
    sampling: Sampling = field(init=False)

    def __post_init__(self) -> None:
        grpo = self.config.grpo
        self.sampling = Sampling(grpo.temperature, 1.0, grpo.max_tokens)

    async def __call__(self, assignment: Assignment) -> RolloutResult:
        """Raises PolicyError, JudgeError."""
        return await roll_out(
            assignment,
            self.config.grpo.samples,
            self.sampler,
            self.sampling,
            self.rewarder,
            self.kept_samples,
            reward_patience(self.config),
            group_by_group=not self.config.policy.exact,
        )


def reward_patience(config: Config) -> float:
    """Seconds after which a reward is missing, whatever hangs."""
    return config.judge.patience_s + _AFTER_PATIENCE_S


def new_buffer(
    config: Config, shards: int, curriculum: Learnability | None = None, *, any_lag: bool = False
) -> RolloutBuffer:
    grpo = config.grpo
    patience = 4 * reward_patience(config) + config.policy.hang_s
    return RolloutBuffer(None if any_lag else grpo.max_lag, shards, grpo.prompts, patience, curriculum)
