"""`train` from queries to report, on a host that learns nothing: the order of things; what a second start does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_run import (
    EVERY,
    QUERIES,
    STEPS,
    Engine,
    metrics,
    settings,
    start,
    steps_in,
)

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.reasoning.planning.plan import plan
from valor_ray.reasoning.training import step_records
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.reasoning.training.host import TrainWork
from valor_ray.reasoning.training.run import train
from valor_ray.runs import progress
from valor_ray.runs.checkpoints import MERGED, write_metrics
from valor_ray.runs.record_file import keep_records, read_records
from valor_ray.runs.weight_channel import PublishedFile, publish_by_file


def test_evaluation_comes_before_the_first_and_after_the_last_step(tmp_path: Path) -> None:
    report, host = start(tmp_path)
    assert host.log == ["start", "evaluate 0", "learn", "carry 6", "evaluate 6", "end"]
    assert report is not None and report.get("stopped") is None
    assert (report["steps"], report["planned_steps"]) == (6, 6)
    assert (report["accuracy_start"], report["accuracy_end"], report["gain"]) == (0.5, 0.56, 0.06)
    assert report["rollouts"]["used"] == 24
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert steps_in(tmp_path / "metrics.jsonl") == [1, 2, 3, 4, 5, 6]
    assert steps_in(tmp_path / "evaluation.jsonl") == [0, 6]
    assert (tmp_path / "report.html").exists() and list((tmp_path / "tensorboard").iterdir())


def test_engine_gets_every_order_of_the_run(tmp_path: Path) -> None:
    _, host = start(tmp_path)
    assert host.work is not None and host.work.steps == STEPS and host.work.recorded == []
    assert [(assignment.step, assignment.shard) for assignment in host.work.assignments] == [
        (step, shard) for step in range(1, 7) for shard in range(2)
    ]


def test_killed_run_goes_on_with_what_it_recorded(tmp_path: Path) -> None:
    assert start(tmp_path, kill_at=4)[0] is None
    assert steps_in(tmp_path / "metrics.jsonl") == [1, 2, 3]  # the newest checkpoint holds 2
    said: list[str] = []
    report, host = start(tmp_path, said=said)
    assert host.log == ["start", "learn", "carry 6", "evaluate 6", "end"]  # version 0 has been asked
    work = host.work
    assert work is not None
    assert [(one.step, one.shard) for one in work.recorded] == [(3, 0), (3, 1), (4, 0)]
    assert [(one.step, one.shard) for one in work.assignments] == [(4, 1), (5, 0), (5, 1), (6, 0), (6, 1)]
    assert "going on: 2 of 6 steps made, 3 assignments of later steps recorded" in said
    assert not any("version 0 was not" in line for line in said)
    assert report is not None and report["rollouts"]["all"] == 24  # every sample once
    places = [(row["step"], row["shard"]) for row in read_records(tmp_path / "rollouts.jsonl")]
    assert places == [(step, shard) for step in range(1, 7) for shard in range(2) for _ in range(2)]


@pytest.mark.parametrize(("kill_at", "carried"), [(2, None), (4, "step-000001")])
def test_a_run_without_a_checkpoint_starts_with_the_start_weights(
    tmp_path: Path, kill_at: int, carried: str | None
) -> None:
    """Its engines load what is published: version 0 would be measured on weights that nothing goes on from."""
    start(tmp_path, evaluate=False, kill_at=kill_at)
    publish_by_file(tmp_path, "step-000001", tmp_path / "weights")
    found: list[str | None] = []

    class Looks(Engine):
        @contextmanager
        def running(self, config: Config, folder: TrainFolder, say: Any) -> Iterator[Engine]:
            published = PublishedFile(folder.path).read()
            found.append(None if published is None else published.version)
            yield self

    train(tmp_path, settings(), QUERIES, Looks(), None, say=lambda line: None)
    assert found == [carried]


def test_version_0_that_was_not_measured_in_time_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    start(tmp_path, evaluate=False, kill_at=4, said=said)
    _, host = start(tmp_path, kill_at=6, said=said)
    assert host.log[:2] == ["start", "learn"]
    assert len([line for line in said if line.startswith("version 0 was not measured")]) == 1


def test_finished_run_starts_no_engine(tmp_path: Path) -> None:
    first, _ = start(tmp_path)
    said: list[str] = []
    again, host = start(tmp_path, said=said)
    assert host.log == [] and again == first and "all 6 steps have been made by an earlier run" in said


def test_run_killed_in_its_last_evaluation_measures_the_weights_that_it_trained(tmp_path: Path) -> None:
    assert start(tmp_path, dies_at=6)[0] is None
    report, host = start(tmp_path)
    assert host.log == ["start", "carry 6", "evaluate 6", "end"]
    assert report is not None and report["accuracy_end"] == 0.56
    assert steps_in(tmp_path / "metrics.jsonl") == [1, 2, 3, 4, 5, 6]


def test_run_killed_in_its_first_evaluation_asks_again(tmp_path: Path) -> None:
    assert start(tmp_path, dies_at=0)[0] is None
    _, host = start(tmp_path)
    assert host.log == ["start", "evaluate 0", "learn", "carry 6", "evaluate 6", "end"]


def test_stopped_run_says_why_and_is_not_measured(tmp_path: Path) -> None:
    report, host = start(tmp_path, stop_at=3)
    assert host.log == ["start", "evaluate 0", "learn", "end"]
    assert report is not None and report["stopped"] == "the loss of step 3 is nan"
    assert report["steps"] == 2 and report["accuracy_end"] is None
    assert "the loss of step 3 is nan" in (tmp_path / "report.html").read_text()


def test_stopped_run_can_go_on(tmp_path: Path) -> None:
    start(tmp_path, stop_at=3)
    report, host = start(tmp_path)
    assert host.log == ["start", "learn", "carry 6", "evaluate 6", "end"]
    assert report is not None and report["steps"] == 6 and report["stopped"] is None


def test_rollouts_only_samples_and_judges_and_nothing_else(tmp_path: Path) -> None:
    report, host = start(tmp_path, evaluate=False, learner=False, kill_at=3)
    assert report is None
    report, host = start(tmp_path, evaluate=False, learner=False)
    assert host.log == ["start", "learn", "end"] and host.work is not None and not host.work.learner
    assert [(one.step, one.shard) for one in host.work.assignments][:2] == [(3, 1), (4, 0)]
    assert report is not None and report["rollouts"]["all"] == 24 and report["steps"] == 0


def test_rollouts_only_with_all_of_them_starts_no_engine(tmp_path: Path) -> None:
    start(tmp_path, evaluate=False, learner=False)
    report, host = start(tmp_path, evaluate=False, learner=False)
    assert host.log == [] and report is not None and report["rollouts"]["all"] == 24


def test_rollouts_taken_without_a_learner_are_for_a_replay(tmp_path: Path) -> None:
    """At their later steps they would all be too old, and the learner would learn from nothing."""
    start(tmp_path, evaluate=False, learner=False)
    with pytest.raises(ConfigError, match=f"--replay {tmp_path}"):
        start(tmp_path)
    _, host = start(tmp_path, evaluate=False, learner=False)
    assert host.log == []  # they are all there


def test_replicas_may_come_and_go_between_two_starts(tmp_path: Path) -> None:
    start(tmp_path, kill_at=4)
    _, host = start(tmp_path, "policy.replicas=1")
    assert host.work is not None and host.work.shards == 2
    assert [(assignment.step, assignment.shard) for assignment in host.work.assignments] == [
        (4, 1),
        (5, 0),
        (5, 1),
        (6, 0),
        (6, 1),
    ]
    ids = [row["rollout_id"] for row in read_records(tmp_path / "rollouts.jsonl")]
    assert len(set(ids)) == len(ids)


def test_run_is_not_made_shorter_than_it_is(tmp_path: Path) -> None:
    start(tmp_path)
    _, host = start(tmp_path, "grpo.steps=4")
    assert host.log == [] and steps_in(tmp_path / "metrics.jsonl") == [1, 2, 3, 4, 5, 6]


def test_longer_run_goes_on_where_the_shorter_one_ended(tmp_path: Path) -> None:
    start(tmp_path)
    report, host = start(tmp_path, "grpo.steps=8")
    assert host.log == ["start", "learn", "carry 8", "evaluate 8", "end"] and host.work is not None
    assert {assignment.step for assignment in host.work.assignments} == {7, 8}
    assert report is not None and report["steps"] == 8
    assert steps_in(tmp_path / "evaluation.jsonl") == [0, 6, 8]


def test_canaries_that_are_judged_wrong_raise_an_alarm_once(tmp_path: Path) -> None:
    said: list[str] = []
    start(tmp_path, "grpo.steps=20", said=said, bad_judge=True)
    alarms = [line for line in said if "logic" in line]
    assert len(alarms) == 1 and len(steps_in(tmp_path / "audit.jsonl")) == 40


def test_replies_that_are_all_cut_end_the_run_with_the_setting_and_do_so_again(tmp_path: Path) -> None:
    for _ in range(2):  # the replies are recorded: the same command would not sample others
        with pytest.raises(ConfigError, match=r"All 4 replies of step 1 were cut at grpo\.max_tokens 3: "):
            start(tmp_path, "grpo.max_tokens=3", cut=True)
    assert not (tmp_path / "metrics.jsonl").exists() or steps_in(tmp_path / "metrics.jsonl") == []


def test_step_is_told_in_one_line_with_the_time_that_is_left(tmp_path: Path) -> None:
    said: list[str] = []
    start(tmp_path, said=said)
    lines = [line for line in said if line.startswith("step ")]
    assert len(lines) == 6
    assert lines[2] == (
        "step 3/6: reward 0.300, all heads –, kl 0.013, 2 useful groups (wait 1.0, learn 2.0, publish 0.5 s), "
        "about 0 min left"
    )


def test_time_left_counts_the_steps_of_this_start_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path, kill_at=4)
    clock, step_of = SimpleNamespace(now=0.0), Engine._step

    def in_ten_minutes(self: Engine, work: TrainWork, step: int) -> None:
        clock.now += 600
        step_of(self, work, step)

    monkeypatch.setattr(Engine, "_step", in_ten_minutes)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    said: list[str] = []
    start(tmp_path, said=said, evaluate=False)
    left = [line.partition(", about ")[2] for line in said if line.startswith("step ")]
    assert left == ["", "20 min left", "10 min left", "0 min left"]  # the first waits for the start, too


def test_curves_of_a_run_killed_before_its_first_checkpoint_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    purged = []
    board = step_records.Board
    monkeypatch.setattr(
        step_records,
        "Board",
        lambda folder, purge, *others: purged.append(purge) or board(folder, purge, *others),
    )
    for kill_at in (2, 4, 0):  # newest checkpoint when each starts: none, none, 2
        start(tmp_path, kill_at=kill_at)
    assert purged == [1, 1, 3]


def test_steps_whose_records_died_with_the_driver_are_recorded_by_the_next_start(tmp_path: Path) -> None:
    """Law 5. The first start dies between the last checkpoint and the notes of the steps since the one before."""
    start(tmp_path, evaluate=False)
    folder = TrainFolder(tmp_path)
    write_metrics(folder.checkpoints.checkpoint(STEPS), list(read_records(folder.metrics)))
    lost = STEPS - EVERY
    keep_records(folder.metrics, lambda record: bool(record["step"] <= lost))
    shutil.rmtree(tmp_path / "tensorboard")
    said: list[str] = []
    report, host = start(tmp_path, evaluate=False, said=said)
    assert steps_in(folder.metrics) == list(range(1, STEPS + 1)) and report["steps"] == STEPS
    assert host.log == [] and not any(line.startswith("step ") for line in said)
    shown = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert shown.count(b"reward") == STEPS - lost  # they have their curves, and nothing has two


def test_step_that_a_restarted_learner_makes_again_is_recorded_once(tmp_path: Path) -> None:
    class Again(Engine):
        def _step(self, work: TrainWork, step: int) -> None:
            super()._step(work, step)
            if step == 3:
                for old in (2, 3):
                    work.step_done(metrics(old))

    train(tmp_path, settings(), QUERIES, Again(), None, say=lambda line: None)
    assert steps_in(tmp_path / "metrics.jsonl") == [1, 2, 3, 4, 5, 6]


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with (
        TrainFolder(tmp_path).locked(),
        pytest.raises(ConfigError, match="another run"),
    ):
        start(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [(["grpo.micro_batch=3"], "grpo.micro_batch=2"), (["grpo.prompts=12"], "grpo.prompts=10")],
)
def test_plan_refuses_what_the_run_would_refuse(overrides: list[str], advice: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=advice):
        plan(settings(*overrides), QUERIES)
    with pytest.raises(ConfigError, match=advice):
        start(tmp_path / "run", *overrides)
    assert not (tmp_path / "run").exists()


def test_checkpoints_on_the_way_are_asked_when_training_is_over(tmp_path: Path) -> None:
    _, host = start(tmp_path, "grpo.eval_every=2")
    assert host.log == [
        "start", "evaluate 0", "learn",
        "carry 2", "evaluate 2", "carry 4", "evaluate 4", "carry 6", "evaluate 6", "end",
    ]  # fmt: skip


def test_a_run_that_is_over_is_asked_what_it_has_not_been(tmp_path: Path) -> None:
    start(tmp_path)
    _, host = start(tmp_path, "grpo.eval_every=2")
    assert [line for line in host.log if "evaluate" in line or line == "learn"] == [
        "evaluate 2",
        "evaluate 4",
    ]
    _, again = start(tmp_path, "grpo.eval_every=2")
    assert again.log == []


def test_a_run_of_adapters_is_measured_by_those_and_says_what_is_slow_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its engines hold the base: the whole model in a checkpoint is for others."""
    step_made = Engine._step

    def with_whole(self: Engine, work: TrainWork, step: int) -> None:
        step_made(self, work, step)
        if work.folder.checkpoints.has(step):
            (work.folder.checkpoints.checkpoint(step) / MERGED).mkdir()

    monkeypatch.setattr(Engine, "_step", with_whole)
    said: list[str] = []
    _, host = start(tmp_path, "grpo.lora_rank=4", "grpo.learning_rate=1e-6", said=said)
    assert host.log[-3:] == ["carry 6", "evaluate 6", "end"]
    assert [line for line in said if "small for adapters" in line]
