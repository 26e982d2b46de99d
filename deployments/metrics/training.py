"""What a training run did, as Prometheus metrics through Ray: its steps, what they took, and its rollouts."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from valor_ray.reasoning.training.host import TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult

FIGURES = (
    *("reward", "all_heads", "kl", "entropy", "grad_norm", "logprob_gap_mean", "lag_mean", "useful_groups"),
    *("dropped_missing", "dropped_stale", "judge_cost_usd"),
)  # of a metrics record: what one looks at while a run goes on
_SECONDS = [1, 3, 10, 30, 60, 120, 300, 600, 1800]


def measured(work: TrainWork, run: str) -> TrainWork:
    """The same work in the driver, its steps and rollouts measured as well. run: name of the run folder, a tag."""
    metrics = TrainMetrics(run)

    def record(outcome: RolloutResult) -> None:
        work.record(outcome)
        metrics.rolled_out(outcome)

    def step_done(figures: Mapping[str, Any]) -> None:
        work.step_done(figures)
        metrics.step(figures)

    return replace(work, record=record, step_done=step_done)


class TrainMetrics:
    """What `measured` keeps. Nothing waits: Ray's agent of the machine collects it, and Prometheus asks the agent."""

    def __init__(self, run: str) -> None:
        self._run = {"run": run}
        self._step = Gauge("valor_train_step", "Newest step that was made.", tag_keys=("run",))
        self._figure = Gauge(
            "valor_train_figure", "Of the newest step, as in metrics.jsonl.", tag_keys=("run", "figure")
        )
        self._seconds = Gauge(
            "valor_train_seconds", "Of the newest step, by what they went on.", tag_keys=("run", "part")
        )
        self._rollouts = Counter("valor_train_rollouts", "Replies judged, by use.", tag_keys=("run", "fate"))
        self._worked = Histogram(
            "valor_rollout_seconds",
            "Sampling and judging of an assignment.",
            boundaries=_SECONDS,
            tag_keys=("run", "part"),
        )

    def step(self, record: Mapping[str, Any]) -> None:
        self._step.set(record["step"], self._run)
        for figure in FIGURES:
            if (value := record.get(figure)) is not None:
                self._figure.set(value, {**self._run, "figure": figure})
        for part, seconds in record["seconds"].items():
            self._seconds.set(seconds, {**self._run, "part": part})

    def rolled_out(self, outcome: RolloutResult) -> None:
        for fate, count in Counts(str(rollout.fate) for rollout in outcome.rollouts).items():
            self._rollouts.inc(count, {**self._run, "fate": fate})
        for part, seconds in (("sample", outcome.sample_s), ("judge", outcome.judge_s)):
            self._worked.observe(seconds, {**self._run, "part": part})
