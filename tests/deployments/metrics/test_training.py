"""What a training run's driver exports: the record's own figures, after the record has gone where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rollout_of import rollout_of

from deployments.metrics import training
from valor_ray.config.tree import Config
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.reasoning.training.host import TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult


class Metric:
    """Any of Ray's: what was set, counted or observed, with its tags."""

    seen: list[tuple[str, float, dict[str, str]]]  # of all, set by the test

    def __init__(self, name: str, description: str, **options: Any) -> None:
        self._name, self._tags = name, set(options["tag_keys"])

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == self._tags
        Metric.seen.append((self._name, value, tags))

    inc = observe = set


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    Metric.seen = []
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(training, kind, Metric)
    return Metric.seen


def work(tmp_path: Path, record: Any, step_done: Any) -> TrainWork:
    return TrainWork(Config.load(), TrainFolder(tmp_path / "first"), 1, [], [], record, step_done, print)


def test_steps_and_replies_are_measured_and_go_where_they_went(tmp_path: Path, seen: list[Any]) -> None:
    records: list[Any] = []
    measured = training.measured(work(tmp_path, records.append, records.append), "first")
    outcome = RolloutResult(1, 0, [rollout_of(), rollout_of()], [], 2.0, 0.5)
    step = {"step": 3, "reward": 0.25, "kl": None, "judge_calls": 9, "seconds": {"wait": 1.5, "learn": 2.5}}
    measured.record(outcome)
    measured.step_done(step)
    assert records == [outcome, step]
    run = {"run": "first"}
    assert seen[0][:2] == ("valor_train_rollouts", 2) and seen[0][2] == run | {
        "fate": outcome.rollouts[0].fate
    }
    assert seen[1:] == [
        ("valor_rollout_seconds", 2.0, run | {"part": "sample"}),
        ("valor_rollout_seconds", 0.5, run | {"part": "judge"}),
        ("valor_train_step", 3, run),
        ("valor_train_figure", 0.25, run | {"figure": "reward"}),  # none of what is not known
        ("valor_train_seconds", 1.5, run | {"part": "wait"}),
        ("valor_train_seconds", 2.5, run | {"part": "learn"}),
    ]


def test_what_cannot_be_recorded_is_not_counted(tmp_path: Path, seen: list[Any]) -> None:
    def full(outcome: Any) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        training.measured(work(tmp_path, full, full), "first").record(RolloutResult(1, 0, [], [], 0, 0))
    assert seen == []
