"""`valor score` on a real Ray: kill -9 of driver, then worker; every reply once, no stored verdict asked again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import train_runs as runs

REPLIES = 40
PROGRAM = 'boxes = gd_detect(img_pth, "ball {n}")\nfinal_answer = len(boxes)'
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


def start(folder: Path, judge: runs.CountingJudge, log: Path) -> subprocess.Popen:
    settings = [
        "judge.hedge=false",
        "judge.first_in_flight=8",
        "judge.max_in_flight=8",
        "reward.audit_every=0",
    ]
    settings += judge.settings()
    command = [
        sys.executable,
        "-m",
        "valor_ray",
        "score",
        "--replies",
        str(folder / "replies.jsonl"),
        "--json",
    ]
    command += ["--out", str(folder / "out"), *(word for value in settings for word in ("--set", value))]
    with log.open("w") as stream:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_lose_no_reply_and_repeat_no_stored_verdict(tmp_path: Path) -> None:
    """The judge is down while something is killed, so that nothing gets ready meanwhile, however slow the machine."""
    replies(tmp_path)
    out, log = tmp_path / "out", tmp_path / "log.txt"
    with runs.counting_judge() as judge:
        judge.delay_s = 0.3
        run = start(tmp_path, judge, log)
        runs.wait_until(run, log.read_text, lambda: runs.stored(out) >= 30)
        judge.down = True
        everything = runs.tree(run)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        assert runs.outlived(everything) == []
        known, asked = runs.stored(out), runs.settled(lambda: judge.asked)
        judge.down = False

        run = start(tmp_path, judge, log)
        runs.wait_until(run, log.read_text, lambda: runs.stored(out) >= known + 20)
        judge.down = True
        assert runs.stored(out) < 4 * REPLIES  # there is work left for a worker to lose
        runs.wait_until(run, log.read_text, lambda: runs.child(run, "ScoreReplies")).kill()
        judge.down = False
        said, _ = run.communicate(timeout=400)
        assert run.returncode == 0, log.read_text()
        assert judge.asked - asked == 4 * REPLIES - known
    report = json.loads(said)
    counts = {name: report[name] for name in ("replies", "scored", "missing", "failed")}
    assert counts == {"replies": REPLIES, "scored": REPLIES, "missing": 0, "failed": 0}
    lines = (out / "rewards.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["reply_id"] for line in lines) == sorted(
        f"q{n}#{k}" for n in range(REPLIES // 2) for k in (1, 2)
    )
    assert (out / "report.html").stat().st_size > 10_000


@pytest.mark.timeout(600)
def test_scene_tests_run_in_the_nodes_sandbox_at_three_calls_a_question(tmp_path: Path) -> None:
    question = "How many red balls are there?"
    right = REPLY.replace("ball {n}", "red ball")
    more = right.replace("len(boxes)", "len(boxes) + 1")
    rows = [{"query_id": "q", "question": question, "reply": reply} for reply in (right, more)]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    heads = ("logic", "attribute", "spatial", "adherence")
    settings = [*(f"reward.{head}=0" for head in heads), "reward.scenes=0.9", "reward.audit_every=0"]
    command = [sys.executable, "-m", "valor_ray", "score", "--replies", str(tmp_path / "replies.jsonl")]
    command += ["--out", str(tmp_path / "out"), "--json"]
    command += [word for value in settings for word in ("--set", value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["calls"], report["scenes_left_out"], report["scenes_missing"]) == (3, 0, 0)
    records = [json.loads(line) for line in (tmp_path / "out/rewards.jsonl").read_text().splitlines()]
    values = {record["reply"]: (record["scenes"], record["value"]) for record in records}
    assert values == {right: (True, 1.0), more: (False, 0.1)}
    assert '<svg class="scene"' in (tmp_path / "out/report.html").read_text()
