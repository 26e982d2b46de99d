"""A run that controls can be of: at its end, as it was, with held-out questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bases import BASES

from valor_ray.benchmarks.controls.source import BASE, TRAINED, Source
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.records import Query


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    folder = TrainFolder(path)
    with folder.locked():
        folder.prepare(Config.load("local", [*BASES, "grpo.steps=4"]))
        folder.keep_queries([Query(f"q{n}", f"question {n}") for n in range(8)])
    (folder.checkpoints.folder / "step-000004").mkdir()
    write_questions(path / "evaluation" / "data", 3)
    return path


def write_questions(data: Path, count: int) -> None:
    data.mkdir(parents=True)
    (data / "a.png").write_bytes(b"")
    ids = [f"e{n}" for n in range(count)]
    rows = [{"query_id": each, "image": "a.png", "question": f"Is {each} red?"} for each in ids]
    truths = [{"query_id": each, "answer": "yes", "family": "existence"} for each in ids]
    for name, made in (("queries", rows), ("truth", truths)):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))


def test_a_run_at_its_end(run: Path) -> None:
    source = Source(run, questions=2)
    assert source.steps == 4 and len(source.training) == 8
    assert [query.query_id for query in source.queries] == ["e0", "e1"]
    weights = source.weights()
    assert weights[BASE].model == "tabletop:policy"
    assert weights[TRAINED].model == str(run / "checkpoints" / "step-000004")
    for name in ("chosen", "checkpoints/step-000004"):
        (run / name).mkdir(exist_ok=True)
        (run / name / "config.json").write_text("{}")
    assert "chosen" not in source.weights()  # the last ones
    (run / "chosen" / "config.json").write_text('{"other": 1}')
    assert source.weights()["chosen"].model == str(run / "chosen")
    alone = source.alone
    assert (alone.grpo.steps, alone.grpo.workers, alone.grpo.trackers) == (4, 1, ())
    assert alone.reward.audit_every == 0


def test_settings_that_change_no_figure_may_be_others(run: Path) -> None:
    assert Source(run, ["policy.threads=2"]).config.policy.threads == 2
    with pytest.raises(ConfigError, match=r"grpo.kl 0.01 -> 0.5"):
        Source(run, ["grpo.kl=0.5"])


def test_a_run_that_is_not_at_its_end(run: Path) -> None:
    (run / "checkpoints" / "step-000004").rename(run / "checkpoints" / "step-000002")
    with pytest.raises(ConfigError, match="has made 2 of 4 steps: `valor train reasoning --run"):
        Source(run)
    (run / "report.json").write_text('{"stopped": "the loss exploded"}')
    assert Source(run).steps == 2


def test_a_run_that_has_trained_nothing(run: Path) -> None:
    (run / "checkpoints" / "step-000004").rmdir()
    with pytest.raises(ConfigError, match="has trained nothing yet"):
        Source(run)


def test_questions_of_ones_own_are_named(run: Path, tmp_path: Path) -> None:
    (run / "evaluation" / "data").rename(tmp_path / "mine")
    with pytest.raises(ConfigError, match="Give --eval-data"):
        Source(run)
    assert len(Source(run, data=tmp_path / "mine").queries) == 3
    with pytest.raises(ConfigError, match="holds 3 questions"):
        Source(run, data=tmp_path / "mine", questions=4)
