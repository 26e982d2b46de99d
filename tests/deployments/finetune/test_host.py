"""`valor train grounding` on Ray, killed and hindered: no step is lost or made twice, and it ends clean."""

from __future__ import annotations

import os
import queue
import random
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import finetuning as tuning
import pytest
import ray
import train_runs as runs
import tuning_runs as processes
from tuning_runs import Run, Sources

from deployments.finetune import host as shell
from deployments.learner import ray_train
from valor_ray.errors import ConfigError, ServiceError, ValorError
from valor_ray.grounding.finetune.host import FinetuneEnd, FinetuneTask

STEPS = 14


@pytest.mark.timeout(300)
def test_a_run_on_ray_gives_the_weights_of_one_in_process_and_leaves_nothing_running(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    with Run(tmp_path / "ray", sources, "finetune.steps=2") as run:
        run.wait_for_step(1)
        everything = runs.tree(run.process)
        report = run.finish()
    assert runs.outlived(everything) == []
    assert report["published"] == "step-000002" and report["replicas"] == 0
    assert processes.steps(tmp_path / "ray") == [1, 2]
    Run(tmp_path / "near", sources, "finetune.steps=2", options=("--in-process",)).finish()
    assert processes.losses(tmp_path / "ray") == processes.losses(tmp_path / "near")
    assert processes.same(tmp_path / "ray", tmp_path / "near", 2)


@pytest.mark.timeout(240)
def test_ctrl_c_in_training_exits_130_and_leaves_no_process(tmp_path: Path) -> None:
    with Run(tmp_path / "run", Sources(tmp_path), "finetune.steps=4000") as run:
        run.wait_for_step(3)
        everything = runs.tree(run.process)
        run.process.send_signal(signal.SIGINT)
        printed, _ = run.process.communicate(timeout=90)
        assert run.process.returncode == 130, (printed, run.log.read_text())
    assert runs.outlived(everything) == []
    assert "Traceback" not in run.log.read_text()


@pytest.mark.timeout(120)
def test_gpus_that_are_not_there_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    if ray.is_initialized() or os.path.exists("/dev/nvidia0"):
        pytest.skip("this machine may have GPUs")
    sources = Sources(tmp_path)
    run = Run(tmp_path / "run", sources, "finetune.workers=2", "finetune.num_gpus=1")
    said = run.finish(code=2)["error"]["message"]
    assert "finetune.workers 2 x finetune.num_gpus 1: 0 GPUs hold 0 of the learner's processes" in said
    assert not (tmp_path / "run/checkpoints").exists()
    advised = Run(tmp_path / "run", sources, "finetune.workers=1", options=("--dry-run",))
    assert advised.finish()["learner_processes"] == 1  # the same folder takes what was advised


@pytest.mark.slow  # two processes learn beside each other, a minute on two cores
@pytest.mark.timeout(600)
def test_two_workers_have_the_losses_of_one(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    settings = ("finetune.steps=2", "finetune.num_gpus=0")
    two = Run(tmp_path / "two", sources, *settings, "finetune.workers=2", "finetune.batch=1").finish()
    Run(tmp_path / "one", sources, *settings).finish()
    assert two["published"] == "step-000002" and processes.steps(tmp_path / "two") == [1, 2]
    assert processes.losses(tmp_path / "two") == pytest.approx(processes.losses(tmp_path / "one"), rel=1e-3)


@pytest.mark.slow  # an uninterrupted run, and one with three kills
@pytest.mark.timeout(1200)
def test_kills_at_random_moments_give_the_weights_of_an_uninterrupted_run(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    rng, sources = random.Random(seed), Sources(tmp_path)
    settings = (f"finetune.steps={STEPS}", "finetune.save_every=3")
    Run(tmp_path / "whole", sources, *settings).finish()
    cut = tmp_path / "cut"
    for step in sorted(rng.sample(range(2, STEPS // 2), 2)):  # the driver, or everything at once
        with Run(cut, sources, *settings) as run:
            run.wait_for_step(step, look_s=rng.uniform(0.001, 0.3))
            everything = runs.tree(run.process)
            if step % 2:
                os.kill(run.process.pid, signal.SIGKILL)
                run.process.communicate()
            else:
                run.kill_all()
        assert runs.outlived(everything) == [], seed
        whole_checkpoints(cut)
    with Run(cut, sources, *settings) as run:
        # a step that is there already may be that of an earlier start, whose learner is no more
        learner = runs.wait_until(
            run.process, run.log.read_text, lambda: runs.child(run.process, "RayTrainWorker")
        )
        run.wait_for_step(STEPS // 2 + 3)
        time.sleep(rng.uniform(0, 0.3))
        learner.kill()
        report = run.finish(500)
    assert report["steps"] == STEPS and report["published"] == f"step-{STEPS:06d}"
    assert processes.steps(cut) == list(range(1, STEPS + 1)), seed
    assert processes.losses(cut) == processes.losses(tmp_path / "whole"), seed
    assert processes.same(tmp_path / "whole", cut, STEPS), seed


def whole_checkpoints(folder: Path) -> None:
    """Every checkpoint that has a name can be loaded, with the records of all its steps."""
    for checkpoint in (folder / "checkpoints").glob("step-*"):
        step = int(checkpoint.name.removeprefix("step-"))
        processes.state_of(folder, step)
        assert [each["step"] for each in runs.records(checkpoint / "metrics.jsonl")] == list(
            range(1, step + 1)
        )


# without Ray: what a process says of its failure


class Notes:
    """The handle of a notes actor, in this process."""

    def __init__(self) -> None:
        self.queue: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.note = SimpleNamespace(remote=lambda kind, content: self.queue.put((kind, content)))
        self.notes = SimpleNamespace(remote=self._take)

    def _take(self, timeout_s: float) -> list[tuple[str, Any]]:
        try:
            news = [self.queue.get(timeout=timeout_s)]
        except queue.Empty:
            return []
        while not self.queue.empty():
            news.append(self.queue.get_nowait())
        return news


def learn(
    monkeypatch: pytest.MonkeyPatch, work: Any, size: int = 1, steps: list | None = None
) -> FinetuneEnd:
    """`_RayFinetune.learn` over a process of this one."""
    notes = Notes()
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: size)
    monkeypatch.setattr(shell, "_new_notes", lambda: notes)
    monkeypatch.setattr(ray, "get", lambda value: value)
    monkeypatch.setattr("ray.train.get_context", lambda: context)
    monkeypatch.setattr(shell, "learner_work", work)
    monkeypatch.setattr(shell, "_PARTING_S", 3.0)
    fit = lambda task: SimpleNamespace(fit=lambda: task.process(dict(task.given)))  # noqa: E731
    monkeypatch.setattr(ray_train, "_trainer", fit)
    monkeypatch.setattr(ray_train, "RoomWatch", lambda *_: SimpleNamespace(look=lambda now: None))
    monkeypatch.setattr(shell, "watch_notice", threading.Event)
    monkeypatch.setattr("deployments.metrics.grounding.measured_steps", lambda run, step_done: step_done)
    path = Path("unused")
    task = FinetuneTask(tuning.config(), path, path, (), None, path, None)
    host = shell._RayFinetune(task.config, path, lambda line: None)
    return host.learn(task, (steps if steps is not None else []).append)


def test_steps_and_end_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(task: Any, first: bool, together: Any, say: Any, step_done: Any, leaving: Any) -> FinetuneEnd:
        together()
        for step in (1, 2):
            step_done({"step": step})
        return FinetuneEnd(2, 0, 9, 1)

    steps: list[Any] = []
    assert learn(monkeypatch, work, steps=steps) == FinetuneEnd(2, 0, 9, 1)
    assert steps == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("size", [1, 2])
def test_a_process_that_cannot_go_on_ends_the_run_with_its_own_error(monkeypatch, size: int) -> None:
    def work(*_: Any) -> FinetuneEnd:
        raise ConfigError("pictures/3.png is not the picture that was mined")

    with pytest.raises(ConfigError, match=r"3\.png is not"):
        learn(monkeypatch, work, size)


def test_the_error_of_one_process_is_not_waited_on_by_a_learner_that_hangs(monkeypatch) -> None:
    hanging = threading.Event()

    def work(*_: Any) -> FinetuneEnd:
        raise ValorError("one of two")

    def process(given: dict[str, Any]) -> None:
        with pytest.raises(ValorError):
            original(given)
        hanging.wait(60)

    original = shell.learner_process
    monkeypatch.setattr(shell, "learner_process", process)
    begun = time.monotonic()
    with pytest.raises(ValorError, match="one of two"):
        learn(monkeypatch, work, 2)
    hanging.set()
    assert time.monotonic() - begun < 30


def test_a_process_that_dies_for_good_says_where_its_log_is(monkeypatch) -> None:
    def work(*_: Any) -> FinetuneEnd:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(ServiceError, match=r"CUDA out of memory.*last checkpoint"):
        learn(monkeypatch, work)
