"""Rollouts as a training run takes them (Ray Data, buffer, Serve handles, sandbox), from mock engines; no learner.

A pretended learner publishes step s as soon as all its shards are there, so that no more steps than max_lag + 1 are in
work, as in a run whose learner is never waited for.
"""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from deployments.actors.buffer import open_buffer
from deployments.reasoning import outcomes
from valor_ray.config.tree import Config
from valor_ray.perf.scaling.mock_engine import MockSpeed, sampler_of
from valor_ray.reasoning.planning.sizing.stages import Load
from valor_ray.reasoning.training.folder import Recorder, TrainFolder
from valor_ray.reasoning.training.host import TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.reasoning.training.schedule import assignments, shards_of
from valor_ray.records import Query

QUERIES = 200


@dataclass(frozen=True)
class Shape:
    """Of the steps that are measured."""

    prompts: int = 32
    samples: int = 4
    shards: int = 16  # as schedule.shards_of gives 4 replicas
    max_lag: int = 1

    def config(self, replicas: int) -> Config:
        """Settings of a run of such steps, without a reserve: every step takes as many samples."""
        settings = (
            f"grpo.prompts={self.prompts}", f"grpo.samples={self.samples}", f"grpo.shards={self.shards}",
            f"grpo.max_lag={self.max_lag}", "grpo.reserve=0", "grpo.max_tokens=2000", "grpo.eval_questions=0",
            f"policy.replicas={replicas}", "reward.audit_every=0",
        )  # fmt: skip
        return Config.load("local", settings)

    def load(self, speed: MockSpeed) -> Load:
        """As `valor plan` reckons with it."""
        return Load(self.prompts, self.samples, 0, speed.reply_tokens, speed.reply_tokens)


@dataclass(frozen=True)
class Taken:
    """An assignment's outcome, and when it came."""

    at: float  # time.monotonic
    outcome: RolloutResult

    def samplers(self) -> Counter[str]:
        """Rollouts by the replica that sampled them."""
        return Counter(sampler_of(rollout.reply) for rollout in self.outcome.rollouts)


def take(run: Path, config: Config, steps: int) -> Generator[Taken, None, None]:
    """The outcomes of so many steps as they come, recorded in the run's folder. Close it to stop earlier.

    Policy and judge of the run must be up (mock_parts). Raises ValorError as a training run does.
    """
    folder, shards = TrainFolder(run), shards_of(config)
    folder.samples.mkdir(parents=True, exist_ok=True)
    queries = [Query(f"q{n}", f"Is the cup {n} left of the plate?") for n in range(QUERIES)]
    config = config.model_copy(update={"grpo": config.grpo.model_copy(update={"steps": steps})})
    buffer = open_buffer(config, shards)
    ray.get(buffer.published.remote(0))
    come, learnt = Counter[int](), 0
    with closing(Recorder(folder)) as recorder:
        work = TrainWork(
            config=config, folder=folder, steps=steps, assignments=list(assignments(queries, config.grpo, shards)),
            recorded=(), record=recorder.record, step_done=_nothing, say=_nothing, shards=shards, learner=False,
        )  # fmt: skip
        coming = outcomes(work, folder, buffer)
        try:
            for outcome in coming:
                recorder.record(outcome)
                ray.get(buffer.put.remote(pickle.dumps(outcome)))
                come[outcome.step] += 1
                while come[learnt + 1] == shards:  # in order: a later step may be there before
                    learnt += 1
                    _learn(buffer, learnt)
                yield Taken(time.monotonic(), outcome)
        finally:
            ray.get(buffer.stop.remote("measured"))
            for _ in coming:  # what is in work ends; the rest gives nothing
                pass
            ray.kill(buffer)


def _learn(buffer: Any, step: int) -> None:
    """What a learner does for the buffer, at once."""
    ray.get(buffer.batch.remote(step))
    ray.get([buffer.published.remote(step), buffer.checkpointed.remote(step)])


def _nothing(_: object) -> None:
    pass
