"""`valor train reasoning` killed and hindered: nothing is trained twice, paid for twice, or lost; and it ends clean."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import resume_exactness as exactness
import train_runs as runs
from s3 import bucket, s3_server  # noqa: F401


@pytest.mark.slow  # three starts of an engine, minutes; tests/reasoning has the same without an engine
@pytest.mark.timeout(900)
def test_run_killed_at_a_random_moment_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path,
    bucket: str,  # noqa: F811
) -> None:
    """In one process, on-policy; in a folder, or at a URL, where another machine goes on: as it falls. Five moments:
    python tests/by_hand/training/resume_exactness.py --kills 5 [--s3]."""
    seed = random.SystemRandom().randrange(10**6)
    with runs.counting_judge() as judge:
        whole, step_s = exactness.uninterrupted(tmp_path / "whole", judge)
        assert runs.movement(whole, exactness.STEPS) > 1e-3  # there is something to differ in
        draw = random.Random(seed)
        url = draw.choice([None, f"{bucket}/runs/away"])
        outcome = exactness.killed_and_resumed(whole, tmp_path / "cut", judge, draw, step_s, url)
        assert exactness.exact(outcome), (seed, url, outcome)


@pytest.mark.slow  # three kills, four minutes on a busy machine
@pytest.mark.timeout(900)
def test_kills_of_driver_learner_and_engine_lose_nothing(tmp_path: Path) -> None:
    """On Ray, two policy replicas, samples up to a step old."""
    folder, steps = tmp_path / "run", 8
    with runs.counting_judge() as judge:
        settings = [f"grpo.steps={steps}", "grpo.max_lag=1", "policy.replicas=2", "grpo.save_every=2"]
        settings += judge.settings()
        with runs.Run(folder, settings) as run:
            run.wait_for_step(2)
            everything = run.tree()
            # between a checkpoint and its note to the driver, or a moment later: the record must not be lost
            run.wait_until((folder / "checkpoints" / "step-000004").exists, look_s=0.002)
            os.kill(run.process.pid, signal.SIGKILL)
            run.process.communicate()
            assert runs.outlived(everything) == []
        before, kept = runs.records(folder / "rollouts.jsonl"), runs.stored(folder)
        asked = runs.settled(lambda: judge.asked)

        report = hindered(folder, settings)
        assert judge.asked - asked == runs.stored(folder) - kept  # no stored verdict was asked for again
    check_whole(folder, steps, before)
    assert report["steps"] == steps and report["stopped"] is None
    versions = {
        (row["shard"], version)
        for row in runs.records(folder / "rollouts.jsonl")
        for version, _ in row["versions"]
    }
    for shard in (0, 1):  # each replica's assignments follow the weights
        steps_seen = {int(version.removeprefix("step-")) for of, version in versions if of == shard}
        assert len(steps_seen) >= steps // 2, versions


def hindered(folder: Path, settings: list[str]) -> dict[str, Any]:
    """The report of a start whose learner is killed, then an engine; nothing but Ray's agents outlives it."""
    with runs.Run(folder, settings) as run:
        run.wait_for_step(5)
        learner = run.child("RayTrainWorker")
        assert learner is not None
        learner.kill()
        run.wait_for_step(6)
        engine = run.child("VLLM::EngineCore")
        assert engine is not None
        engine.kill()
        everything = run.tree()
        report = run.finish()
    assert runs.outlived(everything) == []
    return report


def check_whole(folder: Path, steps: int, before: list[dict[str, Any]]) -> None:
    """Every step once, every rollout once, what was recorded before a kill as it was, no zero for a missing verdict."""
    after = runs.records(folder / "rollouts.jsonl")
    ids = [row["rollout_id"] for row in after]
    assert runs.steps(folder) == list(range(1, steps + 1))
    assert len(set(ids)) == len(ids)
    assert {row["step"] for row in after} == set(range(1, steps + 1))
    assert after[: len(before)] == before
    assert all(row["fate"] != "missing" for row in after)
    assert (folder / "report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_waits_for_a_judge_that_is_down_and_trains_no_zeros(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with runs.counting_judge() as judge:
        judge.down = True
        settings = ["grpo.steps=2", "grpo.max_lag=0", *judge.settings()]
        with runs.Run(folder, settings, "--in-process") as run:
            run.wait_until(lambda: "Work waits until it is back" in run.said())
            time.sleep(3)
            assert runs.steps(folder) == [] and runs.rollout_ids(folder) == []
            judge.down = False
            run.finish()
            assert "answers again" in run.said()
    check_whole(folder, 2, [])


@pytest.mark.slow  # the gateway's own tests refuse keys in milliseconds
@pytest.mark.timeout(900)
def test_judge_that_refuses_the_key_ends_the_run_and_names_the_variable(tmp_path: Path) -> None:
    async def refuse(n: int, body: dict[str, Any], request: Any) -> Any:
        return runs.rough.failed(401, "bad key")

    with runs.rough.endpoint(refuse) as end:
        settings = ["grpo.steps=2", f"judge.base_url={end.url}", "judge.api_key_env=A_JUDGE_KEY"]
        with runs.Run(tmp_path / "run", settings, "--in-process", A_JUDGE_KEY="wrong") as run:
            run.process.communicate(timeout=850)
        assert run.process.returncode in (1, 2), run.said()
    last = run.said().strip().splitlines()[-1]
    assert "A_JUDGE_KEY" in last and "Traceback" not in run.said()
    assert runs.steps(tmp_path / "run") == []
