"""`valor score` on a real Ray: kill -9 of driver, then worker; every reply once, no stored verdict asked again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from valor_ray.perf.mock_judge import MockJudge

REPLIES = 40
PROGRAM = 'found = gd_detect(img_pth, "ball {n}")\nfinal_answer = len(found)'
REPLY = (
    "<plan>\n1. Detect ball {n}.\n2. Count the boxes; none is 0.\n</plan>\n<answer>\n"
    + PROGRAM
    + "\n</answer>"
)


def replies(folder: Path) -> Path:
    path = folder / "replies.jsonl"
    rows = [
        {
            "query_id": f"q{n // 2}",
            "question": f"How many balls {n // 2}?",
            "reply": REPLY.replace("{n}", str(n)),
        }
        for n in range(REPLIES)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def start(folder: Path, url: str, log: Path) -> subprocess.Popen:
    settings = [
        f"judge.base_url={url}",
        "judge.hedge=false",
        "judge.first_in_flight=8",
        "judge.max_in_flight=8",
    ]
    settings += ["reward.audit_every=0", "judge.api_key_env=null"]
    words = [sys.executable, "-m", "valor_ray", "score", "--replies", str(folder / "replies.jsonl"), "--json"]
    words += ["--out", str(folder / "out"), *(word for value in settings for word in ("--set", value))]
    with log.open("w") as stream:
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stream, text=True)


def wait(run: subprocess.Popen, log: Path, until: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert run.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def stored(folder: Path) -> int:
    path = folder / "out" / "judge_cache" / "answers.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return int(db.execute("SELECT count(*) FROM answers").fetchone()[0])


def worker_of(run: subprocess.Popen) -> psutil.Process | None:
    """The actor that scores, among the processes of the run."""
    for process in psutil.Process(run.pid).children(recursive=True):
        try:
            if "ScoreReplies" in " ".join(process.cmdline()):
                return process
        except psutil.Error:
            continue
    return None


@pytest.mark.timeout(240)
def test_kills_lose_no_reply_and_repeat_no_stored_verdict(tmp_path: Path) -> None:
    replies(tmp_path)
    log = tmp_path / "log.txt"
    with MockJudge(median_s=0.3, sigma=0.1) as judge:
        run = start(tmp_path, judge.base_url, log)
        wait(run, log, lambda: stored(tmp_path) >= 30)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        known = _settled(lambda: stored(tmp_path))
        asked = _settled(lambda: judge.stats()["calls"])
        assert known < 4 * REPLIES

        run = start(tmp_path, judge.base_url, log)
        wait(run, log, lambda: stored(tmp_path) >= known + 20)
        worker = worker_of(run)
        assert worker is not None
        worker.kill()
        said, _ = run.communicate(timeout=120)
        assert run.returncode == 0, log.read_text()
        assert judge.stats()["calls"] - asked == 4 * REPLIES - known
    report = json.loads(said)
    assert (report["replies"], report["scored"], report["missing"], report["failed"]) == (
        REPLIES,
        REPLIES,
        0,
        0,
    )
    lines = (tmp_path / "out" / "rewards.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["reply_id"] for line in lines) == sorted(
        f"q{n}#{k}" for n in range(REPLIES // 2) for k in (1, 2)
    )
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def _settled(read: Callable[[], int]) -> int:
    """A count once it no longer grows: what a killed run had begun ends within a second."""
    before, now = -1, read()
    while now != before:
        time.sleep(1)
        before, now = now, read()
    return now
