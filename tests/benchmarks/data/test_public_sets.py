"""The public sets, from files with their schema: question text in both wordings, truths, pictures, both marks."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from benchmark_sets import (
    BLINK,
    GQA,
    OMNI3D,
    PUBLIC,
    REALWORLDQA,
    TALLYQA,
    VSR,
    drawn,
    held,
    lines,
    table,
    write_set,
)

from valor_ray import images
from valor_ray.benchmarks.reading.pictures import Pictures
from valor_ray.benchmarks.registry import benchmark
from valor_ray.benchmarks.results.row import AnswerRow
from valor_ray.benchmarks.truth import Loaded, Request, Wording
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ConfigError


def load(name: str, data: Path, tmp_path: Path, **more: Any) -> Loaded:
    return benchmark(name).load(
        Request(data, tmp_path / "out", Pictures(tmp_path / "kept", ImageConfig()), **more)
    )


def written(name: str, tmp_path: Path, **more: Any) -> Loaded:
    return load(name, write_set(name, tmp_path / name), tmp_path, **more)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_row_has_a_question_a_truth_and_a_picture_that_opens(name: str, tmp_path: Path) -> None:
    loaded = written(name, tmp_path)
    assert [query.query_id for query in loaded.queries] == list(loaded.truths)
    for query in loaded.queries:
        assert images.load(Path(query.image), ImageConfig()).rgb.shape == (48, 64, 3)
    limited = load(name, tmp_path / name, tmp_path, limit=2)
    assert list(limited.queries) == list(loaded.queries)[:2]


@pytest.mark.parametrize("name", PUBLIC)
def test_no_question_holds_what_the_row_knows_beside_it(name: str, tmp_path: Path) -> None:
    text = json.dumps([query.question for query in written(name, tmp_path).queries])
    assert not any(word in text for word in ("Three red mugs", "Ten eggs", "bboxs", "(B)", "explanation"))


def test_pictures_of_rows_are_written_once(tmp_path: Path) -> None:
    loaded = written("omni3d", tmp_path)
    assert len({query.image for query in loaded.queries}) == 3 == len(list((tmp_path / "kept").iterdir()))


QUESTIONS = {
    ("blink", Wording.CLEAN): "How many cups are there? Options: {1, 3, 2, 0}.",
    ("blink", Wording.REFERENCE): "How many cups are there?? Options: {1,3,2,0}.",
    (
        "vsr",
        Wording.CLEAN,
    ): 'Is this statement true of the picture: "The cat is under the chair"? Answer yes or no.',
    ("vsr", Wording.REFERENCE): "Is The cat is under the chair.?",
    ("realworldqa", Wording.CLEAN): "Which way may we turn? Options: {Left, Right, Both}.",
    ("realworldqa", Wording.REFERENCE): "Which way may we turn? Options: {Left,Right,Both}.",
    ("omni3d", Wording.REFERENCE): "How many mugs are on the desk?",
    ("robospatial", Wording.REFERENCE): "Can the mug fit left of the lamp? Answer yes or no.",
}


@pytest.mark.parametrize(("name", "wording"), QUESTIONS)
def test_wordings(name: str, wording: Wording, tmp_path: Path) -> None:
    assert written(name, tmp_path, wording=wording).queries[0].question == QUESTIONS[name, wording]


# of each row an answer, its strict mark and the paper's
MARKS = {
    "omni3d": [
        (2, 1, 1), (0.27, 0.9, 0.9), ("The sofa.", 1, 1), (False, 1, 1), ("unknown", 0, 1), ("South", 0, 1), ("", 0, 1),
    ],
    "robospatial": [(True, 1, 1), ("unknown", 0, 1), (None, 0, 1)],
    "blink": [(3.0, 1, 1), (False, 1, 0), ("no", 1, 1)],
    "vsr": [(True, 1, 1), ("cat", 0, 1), ("no.", 1, 1)],
    "realworldqa": [("C. Both", 1, 0), ("three", 1, 0), ("", 0, 1)],
    "gqa": [("Red", 1, None), (False, 1, None), ("the left side", 0, None)],
    "tallyqa": [(None, 0, 1), ("3", 1, 1), (12.9, 0, 1)],
    "countbenchqa": [(3, 1, 1), (10.9, 0, 1), ("two", 0, 0)],
}  # fmt: skip


def row_of(
    loaded: Loaded, place: int, answer: Any, error: str | None = None, unasked: bool = False
) -> AnswerRow:
    query = loaded.queries[place]
    truth = loaded.truths[query.query_id]
    return AnswerRow.of(query, truth, answer=answer, error=error, unasked=unasked).marked()


@pytest.mark.parametrize("name", PUBLIC)
def test_both_marks_of_every_row(name: str, tmp_path: Path) -> None:
    loaded = written(name, tmp_path)
    for place, (answer, strict, paper) in enumerate(MARKS[name]):
        row = row_of(loaded, place, answer)
        assert (row.mark, row.paper) == (strict, paper), (place, answer)


@pytest.mark.parametrize("name", PUBLIC)
def test_crash_is_wrong_and_a_question_that_nobody_was_asked_is_right_by_no_rule(
    name: str, tmp_path: Path
) -> None:
    loaded = written(name, tmp_path)
    for place, query in enumerate(loaded.queries):
        truth = loaded.truths[query.query_id].answer
        assert row_of(loaded, place, truth, error="The program ended with status error").mark == 0
        unasked = row_of(loaded, place, None, error="no picture", unasked=True)
        assert unasked.mark == 0 and not unasked.paper


def test_rows_that_ask_for_points_are_counted_and_not_asked(tmp_path: Path) -> None:
    loaded = written("robospatial", tmp_path)
    assert len(loaded.queries) == 3 and loaded.notes[0].startswith(
        "1 rows are not asked: context asks for points"
    )
    assert {truth.subset for truth in loaded.truths.values()} == {"compatibility", "configuration"}


def test_duplicate_rows_of_the_set_are_kept(tmp_path: Path) -> None:
    loaded = written("omni3d", tmp_path)
    assert len(loaded.queries) == len(OMNI3D) and loaded.queries[3].question == loaded.queries[4].question


def test_the_archives_file_of_omni3d_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(drawn(1))
    rows = [
        {
            "question_index": 0,
            "image_filename": "a.png",
            "question": "How many?",
            "answer": 2,
            "answer_type": "int",
        },
        {
            "question_index": 1,
            "image_filename": "a.png",
            "question": "How wide?",
            "answer": 1.5,
            "answer_type": "float",
        },
        {
            "question_index": 2,
            "image_filename": "a.png",
            "question": "Is it?",
            "answer": True,
            "answer_type": "str",
        },
    ]
    (tmp_path / "annotations.json").write_text(json.dumps({"questions": rows}))
    loaded = load("omni3d", tmp_path, tmp_path)
    assert [truth.answer for truth in loaded.truths.values()] == [2, 1.5, "yes"]


def tsv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """As evaluation kits write their sets: pictures in base64."""
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        out.writeheader()
        out.writerows(rows)
    return path


def picture(number: int) -> str:
    return base64.b64encode(drawn(number)).decode()


def test_tsv_with_base64_pictures_and_option_columns(tmp_path: Path) -> None:
    count = {
        "index": 0,
        "image": picture(1),
        "question": "How many cups?",
        "sub_task": "Counting",
        "answer": "B",
    }
    place = {
        "index": 1,
        "image": picture(2),
        "question": "Is it on it?",
        "sub_task": "Spatial_Relation",
        "answer": "A",
    }
    options = {"A": "1", "B": "3", "C": "2", "D": "0"}, {"A": "no", "B": "yes", "C": "", "D": ""}
    rows = [row | lettered for row, lettered in zip((count, place), options, strict=True)]
    loaded = load("blink", tsv(tmp_path / "blink.tsv", rows), tmp_path)
    assert [truth.answer for truth in loaded.truths.values()] == ["3", "no"]
    assert all(Path(query.image).read_bytes() == drawn(n) for n, query in enumerate(loaded.queries, start=1))


def test_numbers_of_a_tsv_are_text_and_count_as_numbers(tmp_path: Path) -> None:
    rows = [{"question": "How many?", "number": "3", "image": picture(3), "text": "Three cups"}]
    loaded = load("countbenchqa", tsv(tmp_path / "count.tsv", rows), tmp_path)
    assert [truth.answer for truth in loaded.truths.values()] == [3]
    rows = [
        {"caption": "It is red.", "label": "0", "image": picture(3)},
        {"caption": "So.", "label": "True", "image": picture(3)},
    ]
    loaded = load("vsr", tsv(tmp_path / "vsr.tsv", rows), tmp_path)
    assert [truth.answer for truth in loaded.truths.values()] == ["no", "yes"]


def change(name: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return name, fields


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("omni3d", {"answer": "many"}, "field 'answer' must be a whole number, not 'many'"),
        ("omni3d", {"answer_type": "bool"}, "field 'answer_type' must be int, float or str"),
        ("omni3d", {"question": " "}, "field 'question' must be text"),
        ("omni3d", {"image": None}, "field 'image' holds no picture"),
        ("omni3d", {"image": {"bytes": b"no picture", "path": None}}, "that are no picture"),
        ("blink", {"answer": "(E)"}, "'(E)' is none of the options (A 1, B 3, C 2, D 0)"),
        ("blink", {"choices": ["1"]}, "field 'choices' must be two options or more"),
        ("blink", {"choices": ["a", "b", "c", "d"]}, "field 'choices': 'b' is no answer of task Counting"),
        ("countbenchqa", {"number": 2.5}, "field 'number' must be a whole number, not '2.5'"),
        ("realworldqa", {"answer": "D"}, "'D' is none of the options (A Left, B Right, C Both)"),
        ("realworldqa", {"answer": "B. Left"}, "is none of the options"),
        ("realworldqa", {"answer": ""}, "field 'answer' must be text that is not empty"),
    ],
)  # fmt: skip
def test_wrong_row_is_named_with_its_file_and_field(
    name: str, fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    rows = {
        "omni3d": OMNI3D[0] | {"image": held(1)},
        "blink": BLINK["Counting"][0] | {"image_1": held(1), "sub_task": "Counting"},
        "countbenchqa": {"question": "How many?", "number": 2, "image": held(1)},
        "realworldqa": REALWORLDQA[0] | {"image": held(1)},
    }
    table(tmp_path / "rows.parquet", [rows[name] | fields])
    with pytest.raises(ConfigError) as error:
        load(name, tmp_path / "rows.parquet", tmp_path)
    assert words in str(error.value) and "rows.parquet row 1" in str(error.value)


def test_two_rows_of_one_id_are_refused(tmp_path: Path) -> None:
    row = BLINK["Counting"][0] | {"image_1": held(1), "sub_task": "Counting"}
    table(tmp_path / "rows.parquet", [row, row])
    with pytest.raises(ConfigError, match=r"row 2: its id 'val_Counting_1' is that of .* row 1 already"):
        load("blink", tmp_path / "rows.parquet", tmp_path)


def test_a_table_of_other_columns_is_named(tmp_path: Path) -> None:
    table(tmp_path / "rows.parquet", [{"frage": "Wie viele?", "number": 2, "image": held(1)}])
    with pytest.raises(
        ConfigError, match=r"no column 'question' \(there are: frage, number, image\).*CountBenchQA"
    ):
        load("countbenchqa", tmp_path / "rows.parquet", tmp_path)


def test_missing_pictures_are_counted_and_the_first_named(tmp_path: Path) -> None:
    lines(
        tmp_path / "rows.jsonl",
        [{"question": "How many?", "number": n, "image": f"{n}.png"} for n in range(12)],
    )
    with pytest.raises(ConfigError, match=r"12 wrong rows of CountBenchQA\. The first 10:") as error:
        load("countbenchqa", tmp_path / "rows.jsonl", tmp_path)
    assert "there is no picture '0.png'" in str(error.value)


def test_options_that_only_case_tells_apart_are_said_and_kept_apart(tmp_path: Path) -> None:
    row = {"question": "Which?\nA. US\nB. us\n", "answer": "B", "image": held(1)}
    table(tmp_path / "rows.parquet", [row])
    loaded = load("realworldqa", tmp_path / "rows.parquet", tmp_path)
    assert "equal but for case" in loaded.notes[0]
    assert [row_of(loaded, 0, answer).mark for answer in ("us", "US", "B. us")] == [1, 0, 1]


@pytest.mark.parametrize(
    ("lines_", "answer", "truth"),
    [
        ("A. Car\nB Bus\nC. Tree", "B", "Bus"), ("(A) Car\n(B) Bus", "(B)", "Bus"), ("A) Car\nB) Bus", "b", "Bus"),
        ("A: Car\nB: Bus", "B.", "Bus"), ("A - Car\nB - Bus", "B", "Bus"), ("  A. Car\n\n  B. Bus", "A. Car", "Car"),
        ("a. Car\nb. Bus", "the bus", "Bus"), ("A.Car\nB.Bus", "Car", "Car"), ("A. A car\nB. B road", "B", "B road"),
        ("A. Yes\nB. No", "B", "No"), ("A. 2\nB. 3", "A", "2"),
    ],
)  # fmt: skip
def test_option_lines_are_read_leniently(lines_: str, answer: str, truth: str, tmp_path: Path) -> None:
    table(
        tmp_path / "r.parquet",
        [
            {
                "question": f"What is it?\n\n{lines_}\nPlease answer with the letter.",
                "answer": answer,
                "image": held(1),
            }
        ],
    )
    loaded = load("realworldqa", tmp_path / "r.parquet", tmp_path)
    assert [each.answer for each in loaded.truths.values()] == [truth]
    assert loaded.queries[0].question.startswith("What is it? Options: {")


@pytest.mark.parametrize(
    "text", ["A car stands there.\nWhat is it?", "Is A. or B. nearer?", "What is it?\nA. Car"]
)
def test_text_that_only_looks_like_an_option_stays_a_question(text: str, tmp_path: Path) -> None:
    table(tmp_path / "r.parquet", [{"question": text, "answer": "car", "image": held(1)}])
    assert load("realworldqa", tmp_path / "r.parquet", tmp_path).queries[0].question == text


def test_a_folder_without_the_set_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"of BLINK, Counting: one whose path matches .* it holds none"):
        load("blink", tmp_path, tmp_path)
    with pytest.raises(ConfigError, match=r"no such file or folder.*hf download BLINK-Benchmark/BLINK"):
        load("blink", tmp_path / "none", tmp_path)


def test_a_hub_that_cannot_be_reached_says_how_to_point_to_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_args: object, **_more: object) -> str:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(ConfigError) as error:
        benchmark("omni3d").load(Request(None, tmp_path, Pictures(tmp_path / "kept", ImageConfig())))
    message = str(error.value)
    assert "Network is unreachable" in message and "hf download dmarsili/Omni3D-Bench" in message
    assert "valor eval omni3d --data DIR" in message


def test_hub_set_is_the_folder_of_one_commit_and_only_its_files_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fetched(hub: str, **more: Any) -> str:
        asked.update(more, hub=hub)
        return str(write_set("blink", tmp_path / ("c0ffee" * 6)))

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    loaded = benchmark("blink").load(
        Request(None, tmp_path, Pictures(tmp_path / "kept", ImageConfig()), revision="c0ffee")
    )
    assert loaded.revision == "c0ffee" * 6 and len(loaded.queries) == 3
    assert asked == {
        "hub": "BLINK-Benchmark/BLINK", "repo_type": "dataset", "revision": "c0ffee",
        "allow_patterns": ["Counting/val*", "Spatial_Relation/val*"],
    }  # fmt: skip


def test_pictures_that_are_not_beside_the_rows_are_left_to_be_fetched(tmp_path: Path) -> None:
    lines(tmp_path / "gqa_val.jsonl", GQA)
    lines(tmp_path / "tallyqa_val.jsonl", TALLYQA)
    lines(tmp_path / "dev.jsonl", VSR)
    host = "https://cs.stanford.edu/people/rak248"
    assert load("gqa", tmp_path, tmp_path).queries[0].image == f"{host}/VG_100K/101.jpg"
    assert load("tallyqa", tmp_path, tmp_path).queries[0].image == f"{host}/VG_100K_2/103.jpg"
    assert load("vsr", tmp_path, tmp_path).queries[0].image == "http://x/000000000001.jpg"
