"""`python -m jobs.write_queries` as users run it: exit codes, --json, and kill -9 without paying twice."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image
from rough_endpoint import endpoint, said

ANSWER = json.dumps({"questions": ["How many mugs are there?", "Is the lamp behind the sofa?"]})
PICTURES = 12


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for n in range(PICTURES):
        Image.new("RGB", (32, 32), (20 * n, 0, 255)).save(folder / f"p{n:02d}.png")
    return folder


def command(*words: object, url: str | None = None) -> list[str]:
    settings = [] if url is None else ["--set", f"judge.base_url={url}", "--set", "judge.api_key_env=null"]
    settings += [
        "--set",
        "judge.first_in_flight=4",
        "--set",
        "judge.max_in_flight=4",
        "--set",
        "judge.hedge=false",
    ]
    return [sys.executable, "-m", "jobs.write_queries", *map(str, words), *settings]


def run(*words: object, url: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(command(*words, url=url), capture_output=True, text=True, timeout=60)


async def answer(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    return said(ANSWER)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def stored(folder: Path) -> int:
    """Answers on disk."""
    path = folder / "vlm_cache" / "answers.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE name = 'answers'").fetchall()
        return int(db.execute("SELECT COUNT(*) FROM answers").fetchone()[0]) if tables else 0


def picture_of(body: dict[str, Any]) -> str:
    return str(body["messages"][1]["content"][0]["image_url"]["url"])


def test_kill_and_the_same_command_ask_for_no_stored_answer_again(tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "set"), tmp_path / "out" / "queries.jsonl"
    words = ("--images", folder, "--out", out, "--json")
    hang = True

    async def half(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        while hang and n >= 6:
            await asyncio.sleep(0.05)
        return said(ANSWER)

    with endpoint(half) as judge:
        first = subprocess.Popen(
            command(*words, url=judge.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        end = time.monotonic() + 60
        try:  # six are answered, and stored, whichever pictures they are of; four hang, and more are not sent
            while (judge.calls, stored(out.parent)) != (10, 6) and time.monotonic() < end:
                time.sleep(0.05)
            assert (judge.calls, stored(out.parent), first.poll()) == (10, 6, None)
        except BaseException:
            hang = False  # or the endpoint would wait for those that hang
            raise
        finally:
            os.kill(first.pid, signal.SIGKILL)
            first.communicate()
        before = rows(out)
        with out.open("ab") as file:  # what a kill in the middle of a write leaves
            file.write(b'{"query_id": "p1')
        hang, lost = False, {picture_of(body) for body in judge.bodies[6:]}
        second = run(*words, url=judge.url)
        assert second.returncode == 0, second.stderr
        asked = Counter(picture_of(body) for body in judge.bodies)
        third = run(*words, url=judge.url)
    assert {picture for picture, times in asked.items() if times > 1} == lost and max(asked.values()) == 2
    assert rows(out)[: len(before)] == before
    assert [row["query_id"] for row in rows(out)] == [f"p{n:02d}.png" for n in range(PICTURES)]
    summary = json.loads(second.stdout)
    assert summary["before"] == len(before) and summary["written"] == PICTURES - len(before)
    assert summary["kinds"]["count"] == summary["kinds"]["relation"] == PICTURES / 2
    assert json.loads(third.stdout)["before"] == PICTURES and judge.calls == asked.total()


def test_bad_pictures_are_rows_and_exit_code_1(tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "set"), tmp_path / "queries.jsonl"
    (folder / "p03.png").write_bytes(b"\x89PNG broken")
    with endpoint(answer) as judge:
        done = run("--images", folder, "--out", out, "--per-image", 2, "--limit", 5, url=judge.url)
        assert done.returncode == 1, done.stderr
        assert "4 questions written" in done.stdout and "bad pictures: 1;" in done.stdout
        assert [row["query_id"] for row in rows(tmp_path / "failed.jsonl")] == ["p03.png"]
        assert (
            judge.calls == 4 and "Write 2 questions" in judge.bodies[0]["messages"][1]["content"][1]["text"]
        )


def test_wrong_usage_is_exit_code_2_and_says_what_to_do(tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "set"), tmp_path / "queries.jsonl"
    offline = run("--images", folder, "--out", out)
    assert offline.returncode == 2 and "the offline judge cannot write questions" in offline.stderr
    assert (
        "base_url: https://host/v1" in offline.stderr and "--profile" in offline.stderr and not out.exists()
    )
    told = run("--images", folder, "--out", out, "--json")
    assert told.returncode == 2 and json.loads(told.stdout)["error"]["code"] == "config"
    url = "http://127.0.0.1:9/v1"
    for words, message in (
        (("--images", tmp_path / "none", "--out", out), "no such file or folder"),
        (("--images", folder, "--out", folder), "is a folder. Give a file"),
        (("--images", folder, "--out", out, "--per-image", 0), "not a whole number of at least 1"),
    ):
        wrong = run(*words, url=url)
        assert wrong.returncode == 2 and message in wrong.stderr and "Traceback" not in wrong.stderr, (
            wrong.stderr
        )


def test_questions_come_from_the_vlm_and_its_missing_key_is_named(tmp_path: Path) -> None:
    words = ("--images", pictures(tmp_path / "set"), "--out", tmp_path / "q.jsonl", "--limit", 2)
    with endpoint(answer) as judge, endpoint(answer) as vlm:
        eyes = (
            "--set",
            f"vlm.base_url={vlm.url}",
            "--set",
            "vlm.model=eyes",
            "--set",
            "vlm.api_key_env=NO_KEY_HERE",
        )
        keyless = run(*words, *eyes, url=judge.url)
        assert keyless.returncode == 2 and "NO_KEY_HERE (named by vlm.api_key_env)" in keyless.stderr
        done = run(*words, *eyes, "--set", "vlm.api_key_env=null", "--set", "vlm.max_side=64", url=judge.url)
    assert done.returncode == 0, done.stderr
    assert judge.calls == 0 and {body["model"] for body in vlm.bodies} == {"eyes"} and stored(tmp_path) == 2


def test_answers_that_an_older_version_has_stored_are_not_paid_for_again(tmp_path: Path) -> None:
    words = ("--images", pictures(tmp_path / "set"), "--out", tmp_path / "q.jsonl", "--limit", 2)
    with endpoint(answer) as judge:
        assert run(*words, url=judge.url).returncode == 0
        (tmp_path / "vlm_cache").rename(tmp_path / "judge_cache")
        (tmp_path / "q.jsonl").unlink()
        assert run(*words, url=judge.url).returncode == 0 and judge.calls == 2
    assert not (tmp_path / "vlm_cache").exists()


def test_sigterm_ends_the_job_as_ctrl_c_does(tmp_path: Path) -> None:
    async def never(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return said(ANSWER)

    with endpoint(never) as judge:
        words = command("--images", pictures(tmp_path / "set"), "--out", tmp_path / "q.jsonl", url=judge.url)
        job = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while not judge.calls:
            assert job.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)
        _, said_last = job.communicate(timeout=30)
    assert job.returncode == 130 and "the same command goes on" in said_last
    assert "Traceback" not in said_last, said_last


def test_an_unknown_model_is_exit_code_1_without_a_traceback(tmp_path: Path) -> None:
    async def unknown(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no such model"}}, status=404)

    with endpoint(unknown) as judge:
        done = run("--images", pictures(tmp_path / "set"), "--out", tmp_path / "q.jsonl", url=judge.url)
    assert done.returncode == 1 and "judge.model" in done.stderr
    assert "Traceback" not in done.stderr and "never retrieved" not in done.stderr
