"""Training does not see the rows of a hub set that a benchmark measures with, nor others about their pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import datasets
import pytest

from valor_ray.benchmarks.leaks.reserved import without_reserved
from valor_ray.cli import main
from valor_ray.commands.train.reasoning import training_queries
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.queries.read import read_queries
from valor_ray.records import Query

HUB = "hf:dmarsili/Omni3D-Bench"


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """110 rows with a picture each, but row 105 is about the picture of row 7."""
    rows = [
        {
            "image_index": f"{7 if n == 105 else n}.jpg",
            "q_index": n % 9,
            "question": f"Is it {n}?",
            "answer": "no",
        }
        for n in range(110)
    ]

    def load(name: str, split: str) -> datasets.Dataset:
        start, end = re.fullmatch(r"train(?:\[(\d*):(\d*)\])?", split).groups()  # type: ignore[union-attr]
        return datasets.Dataset.from_list(rows[int(start or 0) : int(end or len(rows))])

    monkeypatch.setattr(datasets, "load_dataset", load)


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        (HUB, 100),
        (f"{HUB}:train", 100),
        (f"{HUB}:train[90:110]", 10),
        ("hf:DMarsili/omni3d-bench:train[:1]", 1),
    ],
)
def test_measured_rows_are_refused(source: str, bad: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"{bad} of these queries are among the first 100 rows.*train\[100:\]"
    ):
        without_reserved(read_queries(source), source)


@pytest.mark.parametrize("end", ["", "110"])
def test_other_rows_about_their_pictures_are_left_out_and_counted(end: str) -> None:
    source, said = f"{HUB}:train[100:{end}]", []
    kept = without_reserved(read_queries(source), source, said.append)
    assert [query.query_id[:3] for query in kept] == [
        "100",
        "101",
        "102",
        "103",
        "104",
        "106",
        "107",
        "108",
        "109",
    ]
    (line,) = said
    assert "1 query left out, about pictures of the first 100 rows" in line and line.endswith(": 7.jpg-6")


@pytest.mark.parametrize("source", [f"{HUB}:train[100:105]", f"{HUB}:train[106:]", None, "photos/"])
def test_the_others_can_be_trained_on_and_nothing_is_said(source: str | None) -> None:
    queries = read_queries(source) if source and source.startswith("hf:") else [Query("7.jpg-0", "Is it 7?")]
    said: list[str] = []
    assert without_reserved(queries, source, said.append) == queries and said == []


@pytest.mark.parametrize("command", [["train", "reasoning"], ["mine"]])
def test_commands_refuse_them_before_anything_is_done(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*command, "--run", str(tmp_path / "run"), "--queries", f"{HUB}:train[99:101]", "--dry-run"]
    assert main(words) == 2
    assert "99.jpg-0" in capsys.readouterr().err


def test_both_loops_go_on_without_a_row_about_a_measured_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"{HUB}:train[100:]"
    assert len(training_queries(Config.load("local", [f"grpo.queries={source}"]), tmp_path)) == 9
    assert "1 query left out" in capsys.readouterr().err
    words = ["mine", "--run", str(tmp_path / "run"), "--queries", source, "--dry-run", "--json"]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["queries"] == 9
    assert "1 query left out" in captured.err
