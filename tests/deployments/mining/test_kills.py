"""`valor mine` on a real Ray: kill -9 of driver, worker and gateway; nothing lost, no stored verdict asked again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mining
import pytest
import train_runs as runs
from mined import saved_picture

PICTURES = 24
PROGRAM = mining.reply('gd_detect(img_pth, "objects")')


def start(folder: Path, vlm: mining.CountingVlm, log: Path) -> subprocess.Popen:
    """Programs are recorded already, so that vLLM need not start; the tiny detector proposes boxes anywhere."""
    settings = [
        f"vlm.base_url={vlm.url}", "vlm.model=m", "vlm.api_key_env=null", "vlm.hedge=false",
        "vlm.first_in_flight=8", "vlm.max_in_flight=8", "vlm.retries=5", "grounding.audit_every=0",
    ]  # fmt: skip
    command = [sys.executable, "-m", "valor_ray", "mine", "--run", str(folder / "run"), "--json"]
    command += ["--queries", str(folder / "queries.jsonl")]
    command += [word for value in settings for word in ("--set", value)]
    with log.open("w") as stream:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)


def programs(folder: Path) -> None:
    (folder / "run").mkdir()
    rows, recorded = [], []
    for n in range(PICTURES):
        path = folder / f"{n}.png"
        saved_picture(path, 90 + n, 90)
        rows.append({"query_id": f"q{n}", "question": "What is there?", "image": str(path)})
        more = {"reply": PROGRAM, "status": "ok", "phrases": ["objects", "ball, red"], "unresolved": []}
        recorded.append({**rows[-1], **more, "policy_version": "base"})
    for path, lines in ((folder / "queries.jsonl", rows), (folder / "run/phrases.jsonl", recorded)):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def mined(folder: Path) -> int:
    return len(runs.records(folder / "run/images.jsonl"))


def quiet(vlm: mining.CountingVlm, run: subprocess.Popen, folder: Path, log: Path) -> None:
    """The verifier is down, and what it has answered is stored, however long the run takes to read it."""
    vlm.down = True
    runs.settled(lambda: vlm.asked)
    runs.wait_until(run, log.read_text, lambda: runs.stored(folder / "run", "vlm_cache") == vlm.asked)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_lose_no_decision_and_repeat_no_stored_verdict(tmp_path: Path) -> None:
    """The verifier is down while something is killed, so that nothing gets ready meanwhile, however slow it all is."""
    programs(tmp_path)
    log = tmp_path / "log.txt"
    with mining.counting_vlm() as vlm:
        vlm.delay_s = 0.3
        run = start(tmp_path, vlm, log)
        runs.wait_until(run, log.read_text, lambda: mined(tmp_path) >= 3)
        quiet(vlm, run, tmp_path, log)
        everything = runs.tree(run)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        assert runs.outlived(everything) == []
        vlm.down = False

        run = start(tmp_path, vlm, log)
        for name in ("PictureWorker", "ServeReplica:valor-vlm"):
            before = mined(tmp_path)
            runs.wait_until(run, log.read_text, lambda before=before: mined(tmp_path) >= before + 3)
            quiet(vlm, run, tmp_path, log)
            assert mined(tmp_path) < PICTURES  # there is work left to lose
            runs.wait_until(run, log.read_text, lambda name=name: runs.child(run, name)).kill()
            vlm.down = False
        said, _ = run.communicate(timeout=600)
        assert run.returncode == 0, log.read_text()
    result = json.loads(said)
    assert result["images"] == PICTURES and result["kept"] == result["candidates"] > 0
    assert sorted(r["query_ids"][0] for r in runs.records(tmp_path / "run/images.jsonl")) == sorted(
        f"q{n}" for n in range(PICTURES)
    )
    assert set(vlm.calls.values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_scenes_are_mined_by_the_policy_and_a_pool_of_workers(tmp_path: Path) -> None:
    settings = ("grounding.query_limit=6", "grounding.workers=2", "grounding.audit_every=1")
    command = [sys.executable, "-m", "valor_ray", "mine", "--run", str(tmp_path / "run"), "--json"]
    command += [word for value in settings for word in ("--set", value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result) == [
        *("images", "candidates", "kept", "precision_by_stage", "recall_lost", "calls", "minutes")
    ]
    assert len(runs.records(tmp_path / "run/phrases.jsonl")) == 6
    images = runs.records(tmp_path / "run/images.jsonl")
    assert result["images"] == len(images) == len(runs.records(tmp_path / "run/audit.jsonl")) >= 1
    assert (tmp_path / "run/report.html").exists()
