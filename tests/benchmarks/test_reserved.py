"""Training does not see the rows of a hub set that a benchmark measures with, nor others about their pictures."""

from __future__ import annotations

import re
from pathlib import Path

import datasets
import pytest

from valor_ray.benchmarks.reserved import check_reserved
from valor_ray.cli import main
from valor_ray.errors import ConfigError
from valor_ray.queries.read import read_queries

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
    [(HUB, 101), (f"{HUB}:train", 101), (f"{HUB}:train[90:110]", 11), (f"{HUB}:train[100:]", 1)],
)
def test_measured_rows_and_others_of_their_pictures_are_refused(source: str, bad: int) -> None:
    with pytest.raises(ConfigError, match=f"{bad} of these queries are among the first 100 rows"):
        check_reserved(read_queries(source), source)


@pytest.mark.parametrize("source", [f"{HUB}:train[100:105]", f"{HUB}:train[106:]"])
def test_the_others_can_be_trained_on(source: str) -> None:
    check_reserved(read_queries(source), source)


@pytest.mark.parametrize("command", [["train", "reasoning"], ["mine"]])
def test_commands_refuse_them_before_anything_is_done(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*command, "--run", str(tmp_path / "run"), "--queries", f"{HUB}:train[99:101]", "--dry-run"]
    assert main(words) == 2
    assert "99.jpg-0" in capsys.readouterr().err
