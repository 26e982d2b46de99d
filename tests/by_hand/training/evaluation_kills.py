"""By hand: `valor eval` on a real Ray: kill -9 of driver, then worker, then policy; every question once, none lost.

    python -m pytest -m slow tests/by_hand/training/evaluation_kills.py

About three minutes.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import train_runs as runs

QUESTIONS = 60


def start(folder: Path, log: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "valor_ray", "eval", "tabletop", "--out", str(folder / "out"), "--json"]
    command += ["--limit", str(QUESTIONS), "--samples", "2", "--select", "vote", "--concurrency", "2"]
    with log.open("w") as stream:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)


def answered(folder: Path) -> list[dict]:
    return runs.records(folder / "out/answers.jsonl")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_lose_no_answer_and_ask_nothing_recorded_again(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    run = start(tmp_path, log)
    runs.wait_until(run, log.read_text, lambda: len(answered(tmp_path)) >= 3)
    everything = runs.tree(run)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    assert runs.outlived(everything) == []
    before = answered(tmp_path)

    run = start(tmp_path, log)
    for name in ("AnswerWorker", "ServeReplica:valor-policy"):
        there = len(answered(tmp_path))
        runs.wait_until(run, log.read_text, lambda there=there: len(answered(tmp_path)) >= there + 3)
        assert len(answered(tmp_path)) < QUESTIONS  # there is work left to lose
        runs.wait_until(run, log.read_text, lambda name=name: runs.child(run, name)).kill()
    said, _ = run.communicate(timeout=600)
    assert run.returncode == 0, log.read_text()
    result, rows = json.loads(said), answered(tmp_path)
    assert rows[: len(before)] == before
    assert len(rows) == len({row["query_id"] for row in rows}) == result["n"] == QUESTIONS
    assert result["unasked"] == 0 and result["selection"]["n"] == QUESTIONS
