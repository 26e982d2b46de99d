"""The whole table from replies by hand, through sandbox and live models; nothing is trained."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bases import BASES

from valor_ray.benchmarks.controls import compare
from valor_ray.benchmarks.controls.ceiling import gold_replies
from valor_ray.benchmarks.controls.compare import CONTROLS, Wishes, check_names, controls
from valor_ray.benchmarks.controls.source import Source
from valor_ray.benchmarks.data import tabletop
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.records import Query, Reply, Sampling
from valor_ray.tabletop.dataset import write_dataset

QUESTIONS = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("controls") / "run"
    folder = TrainFolder(path)
    with folder.locked():
        folder.prepare(Config.load("local", [*BASES, "grpo.steps=1"]))
        folder.keep_queries([Query(f"q{n}", f"question {n}") for n in range(8)])
    (folder.checkpoints.folder / "step-000001").mkdir()
    tabletop.make(path / "evaluation" / "data", QUESTIONS)
    return path


class Engine:
    """The right reply where trained, or first of the base's samples; else nothing well formed."""

    def __init__(self, right: dict[str, str]) -> None:
        self.right, self.trained, self.opened = right, False, 0

    @asynccontextmanager
    async def open(self, config: Any) -> AsyncIterator[Any]:
        self.opened, self.trained = self.opened + 1, False
        yield self

    async def load_weights(self, folder: Path, version: str) -> None:
        self.trained = True

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        def text(question: str, k: int) -> str:
            return self.right[question] if self.trained or (k == 0 and sampling.temperature) else "no plan"

        return [[Reply(text(q, k), (), (), "", "stop") for k in range(n)] for q in questions]


@pytest.fixture
def engine(run: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    source = Source(run)
    gold = gold_replies(source.queries, run / "controls" / "gold.jsonl", lambda line: None)
    made = Engine({query.question: gold[query.query_id][0] for query in source.queries})
    sampled = compare.sampled
    monkeypatch.setattr(compare, "sampled", lambda *arguments: sampled(*arguments, open_engine=made.open))
    return made


def test_the_table_of_a_run(run: Path, engine: Engine) -> None:
    said: list[str] = []
    wishes = Wishes(("vote", "ceiling"), samples=2)
    record = controls(Source(run), wishes, said.append)
    rows = {row["control"]: row for row in record["rows"]}
    assert list(rows) == [
        "base", "base_greedy", "base_vote", "trained", "trained_greedy", "trained_vote", "ceiling"
    ]  # fmt: skip
    best = rows["ceiling"]["right"]
    assert best > 60
    assert (
        rows["trained"]["right"] == rows["base_vote"]["right"] == best
    )  # the one that answers has all votes
    assert rows["base"]["right"] == pytest.approx(best / 2, abs=0.01) and rows["base_greedy"]["right"] == 0
    assert (rows["base"]["well_formed"], rows["base_greedy"]["well_formed"]) == (50, 0)
    assert rows["base_vote"]["calls"] == 0
    assert rows["ceiling"]["note"].startswith("By look: ")
    assert json.loads((run / "controls.json").read_text()) == record
    assert "trained, vote of 8" in (run / "controls.txt").read_text()
    assert "trained, vote of 8" in (run / "report.html").read_text()
    assert f"{2 * QUESTIONS} replies to be run" in said  # each different one once
    again: list[str] = []
    assert controls(Source(run), wishes, again.append) == record
    assert engine.opened == 1 and again == []


@pytest.mark.parametrize("look", [None, "dusk"])
def test_right_programs_of_any_set_that_is_rendered(tmp_path: Path, look: str | None) -> None:
    """Also of the first questions only."""
    write_dataset(tmp_path, 5, 4117, look, "held_out")
    rows = [json.loads(line) for line in (tmp_path / "queries.jsonl").read_text().splitlines()]
    queries = [Query(row["query_id"], row["question"]) for row in rows]
    found = gold_replies(queries[:9], tmp_path / "gold.jsonl", lambda line: None)
    assert list(found) == [query.query_id for query in queries[:9]]
    assert all("<answer>" in reply for (reply,) in found.values())
    moved = [Query(queries[0].query_id, queries[2].question)]
    with pytest.raises(ConfigError, match="is no question"):
        gold_replies(moved, tmp_path / "other.jsonl", lambda line: None)


def test_right_programs_of_questions_that_nobody_rendered(run: Path) -> None:
    path = run / "controls" / "gold.jsonl"
    other = [Query("mine-1", "Is the mug left of the kettle?")]
    with pytest.raises(ConfigError, match=r"'mine-1' is no question.*--only"):
        gold_replies(other, path.with_name("other.jsonl"), lambda line: None)


def test_a_name_that_is_no_control() -> None:
    check_names(CONTROLS)
    with pytest.raises(
        ConfigError, match="No control 'self_training' of a reasoning run: there are vote, judge"
    ):
        check_names(("vote", "self_training"))
