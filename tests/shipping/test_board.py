"""The Grafana board: whole, and of figures that there are; by hand that all are scraped (service/board_scrape.py)."""

from __future__ import annotations

import json
import re

from board import BOARD, OF_GPUS, named, of_grounding, panels, queries

from deployments.metrics.grounding import FINETUNE_FIGURES
from deployments.metrics.training import FIGURES


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
    of_tuning = re.findall(r'ray_valor_finetune_figure\{figure=~?"([\w|]+)"\}', " ".join(queries()))
    assert of_tuning and {figure for group in of_tuning for figure in group.split("|")} <= set(
        FINETUNE_FIGURES
    )
    assert named() >= OF_GPUS and len(of_grounding()) == 4
