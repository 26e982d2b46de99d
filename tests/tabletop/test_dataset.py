"""`write_dataset`: files with the promised keys, the same for a seed; `write_queries`: those without the truth."""

import json
from pathlib import Path

import pytest
from PIL import Image

from valor_ray.errors import ConfigError
from valor_ray.tabletop.dataset import write_dataset, write_queries


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_queries_hold_no_answer_and_truth_is_apart(tmp_path: Path) -> None:
    assert write_dataset(tmp_path, 4, 0, "tiles") == {"scenes": 4, "questions": 8}
    queries, truth = _rows(tmp_path / "queries.jsonl"), _rows(tmp_path / "truth.jsonl")
    assert all(set(row) == {"query_id", "image", "question"} for row in queries)
    assert all(set(row) == {"query_id", "answer", "family", "boxes", "look"} for row in truth)
    assert [row["query_id"] for row in queries] == [row["query_id"] for row in truth]
    with Image.open(tmp_path / queries[0]["image"]) as image:
        assert image.size == (256, 256)


def test_the_same_seed_writes_the_same_files_and_another_seed_other_scenes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_dataset(tmp_path / name, 3, seed)
    read = {name: (tmp_path / name / "queries.jsonl").read_bytes() for name in "abc"}
    assert read["a"] == read["b"] != read["c"]
    names = {name: {p.name for p in (tmp_path / name / "images").iterdir()} for name in "abc"}
    assert not names["a"] & names["c"]


def test_an_unknown_look_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tiles, wood, dusk, loud"):
        write_dataset(tmp_path / "out", 1, 0, "snow")
    assert not (tmp_path / "out").exists()


def test_queries_for_training_are_those_of_the_dataset_without_its_truth(tmp_path: Path) -> None:
    assert write_queries(tmp_path / "train", 3, 1) == write_dataset(tmp_path / "all", 3, 1)
    names = {path.relative_to(tmp_path / "train").parts[0] for path in (tmp_path / "train").rglob("*")}
    assert names == {"images", "queries.jsonl"}
    for path in (tmp_path / "train").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "all" / path.relative_to(tmp_path / "train")).read_bytes()


def test_queries_of_a_seed_out_of_range_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed -1 is outside"):
        write_queries(tmp_path / "out", 1, -1)
    assert not (tmp_path / "out").exists()
