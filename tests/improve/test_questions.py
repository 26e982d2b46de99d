"""Written questions: some are kept apart from training, for the choice of a checkpoint."""

import json
from pathlib import Path

from improve_script import job_at, written

from valor_ray.config.tree import Config
from valor_ray.improve.questions import kept_apart, part_questions


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
    assert kept_apart(rows, 96, tmp_path) == set()
    rows[:16] = [{**row, "question": f"How many? {number}"} for number, row in enumerate(rows[:16])]
    assert kept_apart(rows, 96, tmp_path) <= {row["query_id"] for row in rows[:16]}
