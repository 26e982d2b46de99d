"""The Grafana board: every metric that it names is in the scrape of a run; those of GPUs are listed apart."""

from __future__ import annotations

import json
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest
import train_runs as runs
from aiohttp import web

from deployments.metrics.training import FIGURES

BOARD = Path(__file__).parents[2] / "examples/cluster/grafana/valor_ray.json"
# Ray's agent of a machine exports these where it sees a GPU (ray/dashboard/modules/reporter/reporter_agent.py).
OF_GPUS = {"ray_node_gpus_utilization", "ray_node_gram_used", "ray_node_gram_available"}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(BOARD.read_text())["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def named() -> set[str]:
    """Metrics of the board."""
    return {name for query in queries() for name in re.findall(r"\bray_\w+", query)}


def test_panels_have_titles_of_their_own_units_and_room() -> None:
    titles = [panel["title"] for panel in panels()]
    places = [
        (panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in json.loads(BOARD.read_text())["panels"]
    ]
    assert len(set(titles)) == len(titles) > 20 and len(set(places)) == len(places)
    ids = [panel["id"] for panel in json.loads(BOARD.read_text())["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"] and panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_queries_are_whole_and_name_figures_that_there_are() -> None:
    for query in queries():
        assert query.count("(") == query.count(")") and query.count("{") == query.count("}"), query
        for name in re.findall(r"ray_(?:valor|serve|vllm)_\w+_(?:total|bucket)", query):
            assert f"rate({name}" in query, query
    of_steps = re.findall(r'ray_valor_train_figure\{figure=~?"([\w|]+)"\}', " ".join(queries()))
    assert of_steps and {figure for group in of_steps for figure in group.split("|")} <= set(FIGURES)
    assert named() >= OF_GPUS


def scraped(run: runs.Run) -> str:
    """All that the agent of a run's Ray exports now; "" while there is none. It says its port to nobody outside Ray."""
    agent = run.child("ray::DashboardAgent")
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

    def complete() -> bool:
        found.update(re.findall(r"^(ray_\w+)", scraped(run), re.MULTILINE))
        return named() - OF_GPUS <= found

    with runs.rough.endpoint(throttled_once) as end:
        settings = ["grpo.steps=400", "judge.price_in=1", "judge.price_out=2"]
        settings += [f"judge.base_url={end.url}", "judge.api_key_env=null"]
        with runs.Run(tmp_path / "run", settings) as run:
            run.wait_for_step(1)
            try:
                run.wait_until(complete, seconds=180, look_s=5)
            except AssertionError as error:
                raise AssertionError(f"never scraped: {sorted(named() - OF_GPUS - found)}") from error
