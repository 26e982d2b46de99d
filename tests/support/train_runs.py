"""Training runs as processes: start, watch, kill; and a judge that counts, whose verdicts depend on the call alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psutil
import rough_endpoint as rough

SETTINGS = (
    "grpo.prompts=2", "grpo.samples=4", "grpo.micro_batch=4", "grpo.max_tokens=300", "grpo.query_limit=40",
    "grpo.eval_questions=0", "grpo.save_every=2", "reward.audit_every=8", "judge.hedge=false",
)  # fmt: skip


class CountingJudge:
    """An endpoint of this process. Two calls in three get a yes, the same call always the same verdict."""

    def __init__(self) -> None:
        self.url = ""
        self.down = False  # answers 503 to everything
        self.delay_s = 0.0  # before each answer
        self.calls: Counter[str] = Counter()  # of each question asked, answered ones only
        self.refused = 0  # while down

    async def behave(self, n: int, body: dict[str, Any], request: Any) -> Any:
        await asyncio.sleep(self.delay_s)
        if self.down:
            self.refused += 1
            return rough.failed(503, "down for a while")
        key = hashlib.sha256(json.dumps(body["messages"], sort_keys=True).encode()).hexdigest()
        self.calls[key] += 1
        verdict = "yes" if int(key[:8], 16) % 3 else "no"
        return rough.said(json.dumps({"reason": f"by {key[:6]}", "verdict": verdict}))

    @property
    def asked(self) -> int:
        return sum(self.calls.values())

    def settings(self) -> list[str]:
        return [f"judge.base_url={self.url}", "judge.api_key_env=null", "judge.retries=5"]


@contextmanager
def counting_judge() -> Iterator[CountingJudge]:
    judge = CountingJudge()
    with rough.endpoint(judge.behave) as end:
        judge.url = end.url
        yield judge


def wait_until(
    process: subprocess.Popen,
    said: Callable[[], str],
    answer: Callable[[], Any],
    seconds: float = 1500,
    look_s: float = 0.05,
) -> Any:
    """What `answer` gives once it is true, while the process runs; it fails with what the process has said."""
    end = time.monotonic() + seconds
    while not (result := answer()):
        assert process.poll() is None, said()
        assert time.monotonic() < end, said()
        time.sleep(look_s)
    return result


class Run:
    """A `valor train reasoning` process, its folder and its log."""

    def __init__(
        self, folder: Path, settings: Sequence[str], *options: str, at: str | None = None, **environment: str
    ) -> None:
        """at: the run's URL, whose folder on this machine is `folder` (environment: VALOR_STAGING)."""
        self.folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.log = folder.with_name(f"{folder.name}-{time.monotonic_ns()}.log")
        place = at or str(folder)
        command = [sys.executable, "-m", "valor_ray", "train", "reasoning", "--run", place, "--json"]
        command += [*options, *(word for value in (*SETTINGS, *settings) for word in ("--set", value))]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stream, text=True, env=os.environ | environment
            )

    def wait_until(self, answer: Callable[[], Any], seconds: float = 1500, look_s: float = 0.05) -> Any:
        """What `answer` gives once it is true."""
        return wait_until(self.process, self.said, answer, seconds, look_s)

    def wait_for_step(self, step: int, seconds: float = 1500) -> None:
        """Until the metrics of a step are written; 0: until the start weights are."""
        if step:
            self.wait_until(lambda: step in steps(self.folder), seconds)
        else:
            self.wait_until((self.folder / "weights" / "step-000000").exists, seconds)

    def finish(self, seconds: float = 1500) -> dict[str, Any]:
        """The report of a run that ends by itself, with exit code 0."""
        with self:
            report, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, self.said()
        return dict(json.loads(report))

    def said(self) -> str:
        return self.log.read_text()

    def tree(self) -> list[psutil.Process]:
        """This process and all that come of it, in their own sessions too."""
        return tree(self.process)

    def child(self, name: str) -> psutil.Process | None:
        return child(self.process, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.kill_all()

    def kill_all(self) -> None:
        """kill -9 of everything at the same moment, as when the machine loses power."""
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.communicate()


def tree(process: subprocess.Popen) -> list[psutil.Process]:
    driver = psutil.Process(process.pid)
    return [driver, *driver.children(recursive=True)]


def child(process: subprocess.Popen, name: str) -> psutil.Process | None:
    """The first process of the tree with that in its command line."""
    for one in tree(process):
        with suppress(psutil.Error):
            if name in " ".join(one.cmdline()):
                return one
    return None


def records(path: Path) -> list[dict[str, Any]]:
    """Of a file that may be growing."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def steps(folder: Path) -> list[int]:
    """Of the metrics, in the order of the file."""
    return [record["step"] for record in records(folder / "metrics.jsonl")]


def rollout_ids(folder: Path) -> list[str]:
    return [record["rollout_id"] for record in records(folder / "rollouts.jsonl")]


def stored(folder: Path, cache: str = "judge_cache") -> int:
    """Judge answers that a run has kept; none while the file, or the table in it, is not made yet."""
    path = folder / cache / "answers.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
            return 0
        return int(db.execute("SELECT count(*) FROM answers").fetchone()[0])


def outlived(processes: Iterable[psutil.Process], seconds: float = 90) -> list[str]:
    """Names of those that have not ended after so long.

    Ray's own agents are no fault of ours: they notice the end of a raylet after half a minute or more, and are ended
    here, so that the session's own look at what is left does not depend on when that is.
    """
    everything = list(processes)
    alive = psutil.wait_procs([one for one in everything if not _ray_agent(one)], timeout=seconds)[1]
    for agent in filter(_ray_agent, everything):
        with suppress(psutil.Error):
            agent.kill()
    return [one.name() for one in alive if not _ray_agent(one)]


def _ray_agent(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[0] in ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
    except (psutil.Error, IndexError):
        return True  # it has ended


def settled(read: Callable[[], int]) -> int:
    """A count once it no longer grows: what a killed run had begun ends within a second."""
    before, now = -1, read()
    while now != before:
        time.sleep(1)
        before, now = now, read()
    return now


def weights_of(folder: Path, step: int) -> dict[str, Any]:
    """Tensors of a checkpoint."""
    from safetensors.torch import load_file

    return load_file(folder / "checkpoints" / f"step-{step:06d}" / "model.safetensors")


def difference(a: Path, b: Path, step: int) -> float:
    """Largest difference of any weight between two runs' checkpoints."""
    ours, theirs = weights_of(a, step), weights_of(b, step)
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def movement(folder: Path, step: int) -> float:
    """How far training has moved the weights: what a difference is to be compared with."""
    from safetensors.torch import load_file

    from valor_ray.config.models import CHECKPOINTS

    start, end = load_file(CHECKPOINTS / "policy" / "model.safetensors"), weights_of(folder, step)
    return max(float((start[name] - end[name]).abs().max()) for name in start.keys() & end.keys())
