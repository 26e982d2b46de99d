"""By hand, until it has passed ten times: every metric of the Grafana board is in the scrape of a run, of the policy's
training or of mining and fine-tuning.

    python -m pytest -m slow tests/by_hand/service/board_scrape.py

Those of GPUs are listed apart: Ray exports them only where it sees one. About 2 minutes each.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest
import train_runs as runs
from aiohttp import web
from board import OF_GPUS, named, of_grounding


def scraped(process: subprocess.Popen) -> str:
    """All that the agent of a run's Ray exports now; "" while there is none. It says its port to nobody outside Ray."""
    agent = runs.child(process, "ray::DashboardAgent")
    if agent is None:
        return ""
    for port in {one.laddr.port for one in agent.net_connections("tcp") if one.status == psutil.CONN_LISTEN}:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
                text = str(answer.read().decode())
        except (OSError, HTTPException):  # its other ports
            continue
        if "\nray_" in text:
            return text
    return ""


@pytest.mark.slow  # a training run on Ray; half a minute of it is Ray's agents, who report every ten seconds
@pytest.mark.timeout(900)
def test_every_metric_of_the_board_is_in_the_scrape_of_a_run(tmp_path: Path) -> None:
    judge = runs.CountingJudge()

    async def throttled_once(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return runs.rough.failed(429, "slow down") if n == 3 else await judge.behave(n, body, request)

    found: set[str] = set()
    wanted = named() - OF_GPUS - of_grounding()

    def complete() -> bool:
        found.update(re.findall(r"^(ray_\w+)", scraped(run.process), re.MULTILINE))
        return wanted <= found

    with runs.rough.endpoint(throttled_once) as end:
        settings = ["grpo.steps=400", "judge.price_in=1", "judge.price_out=2"]
        settings += [f"judge.base_url={end.url}", "judge.api_key_env=null"]
        with runs.Run(tmp_path / "run", settings) as run:
            run.wait_for_step(1)
            try:
                run.wait_until(complete, seconds=180, look_s=5)
            except AssertionError as error:
                raise AssertionError(f"never scraped: {sorted(wanted - found)}") from error


@pytest.mark.slow  # mines and fine-tunes on Ray, a Ray for each
@pytest.mark.timeout(900)
def test_every_metric_of_grounding_is_in_the_scrape_of_a_run(tmp_path: Path) -> None:
    settings = [
        "grounding.query_limit=48",
        "finetune.steps=400",
        "vlm.delay_s=0.5",
        "finetune.replay_limit=8",
    ]
    command = [sys.executable, "-m", "valor_ray", "train", "grounding", "--run", str(tmp_path / "run")]
    command += [word for setting in settings for word in ("--set", setting)]
    log, found = tmp_path / "log", set[str]()
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)

    def complete() -> bool:
        found.update(re.findall(r"^(ray_\w+)", scraped(process), re.MULTILINE))
        return of_grounding() <= found

    try:
        runs.wait_until(process, log.read_text, complete, seconds=600, look_s=2)
    finally:
        everything = runs.tree(process)
        process.send_signal(signal.SIGINT)
        process.wait(90)
    assert runs.outlived(everything) == []
