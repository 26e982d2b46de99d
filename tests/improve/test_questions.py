"""Written questions: some are kept apart from training, for the choice of a checkpoint."""

import json
from pathlib import Path

import pytest
from improve_script import job_at, written

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.improve.questions import kept_apart, most_apart, part_questions


def ids(path: Path) -> set[str]:
    return {json.loads(line)["query_id"] for line in path.read_text().splitlines()}


def test_an_eighth_is_kept_apart_and_stays_the_same(tmp_path: Path) -> None:
    job, config, folder = job_at(tmp_path, images="/photos"), Config.load("local"), tmp_path / "questions"
    written(folder, 40)
    part_questions(job, config)
    trained, apart = ids(folder / "train.jsonl"), ids(folder / "signals.jsonl")
    assert len(apart) == 5 and not trained & apart and trained | apart == ids(folder / "queries.jsonl")
    written(folder, 44)
    part_questions(job, config)
    assert (ids(folder / "train.jsonl"), ids(folder / "signals.jsonl")) == (trained, apart)


def test_all_are_trained_on_where_nothing_is_chosen_or_other_questions_are_named(tmp_path: Path) -> None:
    for name, setting in (("a", "stopping.questions=0"), ("b", "stopping.queries=mine.jsonl")):
        written(tmp_path / name / "questions", 40)
        part_questions(job_at(tmp_path / name, images="/photos"), Config.load("local", [setting]))
        assert len(ids(tmp_path / name / "questions/train.jsonl")) == 40


def test_two_copies_of_a_picture_with_one_question_stay_on_one_side(tmp_path: Path) -> None:
    rows = []
    for number in range(32):
        (tmp_path / f"{number}.jpg").write_bytes(b"the same")
        rows.append({"query_id": f"{number}.jpg", "image": f"{number}.jpg", "question": "How many?"})
    assert kept_apart(rows, 4, tmp_path) == set()
    rows[:16] = [{**row, "question": f"How many? {number}"} for number, row in enumerate(rows[:16])]
    assert kept_apart(rows, 4, tmp_path) <= {row["query_id"] for row in rows[:16]}


def test_how_many_are_kept_apart_is_said_and_at_most_an_eighth(tmp_path: Path) -> None:
    job, config = job_at(tmp_path, images="/photos"), Config.load("local")
    assert [most_apart(job, config, count) for count in (7, 8, 40, 10_000)] == [
        0,
        1,
        5,
        config.stopping.questions,
    ]
    written(tmp_path / "questions", 40)
    assert part_questions(job, config) == part_questions(job, config) == 5
    few = job_at(tmp_path / "few", images="/photos")
    written(few.folder / "questions", 7)
    assert part_questions(few, config) == 0


def test_a_picture_that_has_gone_is_named(tmp_path: Path) -> None:
    written(tmp_path / "questions", 40)
    (tmp_path / "questions/3.jpg").unlink()
    with pytest.raises(ConfigError, match=r"3\.jpg.*cannot be read any more \(No such file"):
        part_questions(job_at(tmp_path, images="/photos"), Config.load("local"))
