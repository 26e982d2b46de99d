"""Other people's names for questions, ids and pictures; and law 8: what a row says beyond them stays behind."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from valor_ray.errors import ConfigError
from valor_ray.queries.fields import is_label, kept, kept_columns
from valor_ray.queries.read import read_queries
from valor_ray.queries.sources import open_source
from valor_ray.records import Query
from valor_ray.rows.row import Column

SECRET = "the-answer-is-seven"
PNG = b"\x89PNG\r\n\x1a\n and so on"
TURNS = [{"from": "human", "value": "<image>\nHow many?"}, {"from": "gpt", "value": SECRET}]
# each: a row as others write it, and the question that it asks
LAYOUTS: dict[str, tuple[dict[str, Any], Query]] = {
    "the paper's": (
        {
            "problem": "How many?", "answer": "", "extra_info": {"problem": SECRET, "idx": 12}, "ability": SECRET,
            "reward_model": {"style": "rule", "ground_truth": SECRET},
        },
        Query("12", "How many?"),
    ),
    "an RL framework's": (
        {
            "data_source": "x",
            "prompt": [{"role": "system", "content": SECRET}, {"role": "user", "content": "How many?"}],
            "images": [{"bytes": PNG, "path": None}], "extra_info": {"index": 3, "answer": SECRET, "question": SECRET},
            "reward_model": {"ground_truth": SECRET},
        },
        Query("3", "How many?", "ni:///sha-256;"),
    ),
    "a conversation": ({"id": "c1", "conversations": TURNS}, Query("c1", "How many?")),
    "messages": (
        {
            "id": 5,
            "messages": [
                {"role": "assistant", "content": [{"type": "text", "text": SECRET}]},
                {"role": "user", "content": [{"type": "text", "text": "How many?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": SECRET}]},
                {"role": "user", "content": [{"type": "text", "text": SECRET}]},
            ],
        },
        Query("5", "How many?"),
    ),
    "a picture with more": (
        {"query_id": "a", "question": "How many?", "image": {"bytes": PNG, "path": "p.png", "label": SECRET}},
        Query("a", "How many?", "ni:///sha-256;"),
    ),
    "capitals and spaces": (
        {"Index": 4, " Question": "How many?", "Answer": SECRET, "Image": "https://host/x.png"},
        Query("4", "How many?", "https://host/x.png"),
    ),
    "an evaluation kit's": (
        {"index": "7", "question": "How many?", "A": SECRET, "answer": SECRET, "image_path": "https://host/x.png"},
        Query("7", "How many?", "https://host/x.png"),
    ),
}  # fmt: skip


def same(got: Query, wanted: Query) -> bool:
    """The picture's hash is the picture's."""
    return (got.query_id, got.question) == (wanted.query_id, wanted.question) and (
        got.image == wanted.image or (wanted.image == "ni:///sha-256;" and got.image.startswith(wanted.image))
    )


def files_of(row: dict[str, Any], folder: Path) -> list[Path]:
    """The row in every container that can hold it."""
    table = pa.Table.from_pylist([row])
    pq.write_table(table, folder / "t.parquet")
    feather.write_feather(table, folder / "t.feather")
    made = [folder / "t.parquet", folder / "t.feather"]
    try:
        text = json.dumps(row)
    except TypeError:
        return made
    for name, content in (("t.jsonl", text), ("t.json", f"[{text}]"), ("d.json", f'{{"data": [{text}]}}')):
        (folder / name).write_text(content)
        made.append(folder / name)
    return made


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_peoples_rows_are_read_and_their_labels_stay_behind(tmp_path: Path, layout: str) -> None:
    row, wanted = LAYOUTS[layout]
    for path in files_of(row, tmp_path):
        said: list[str] = []
        (query,) = read_queries(str(path), None, said.append)
        assert same(query, wanted), path.name
        assert SECRET not in repr(query) and SECRET not in "".join(said)
        for left in open_source(str(path)).rows:  # at the boundary, before anything is checked
            assert SECRET not in repr(left) and not left.error
            assert set(left.fields) <= {"query_id", "question", "image", "image_index"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_that_is_refused_gives_no_label_away_either(tmp_path: Path, layout: str) -> None:
    row, _ = LAYOUTS[layout]
    wrong = {
        name: value
        for name, value in row.items()
        if name.lower() not in ("query_id", "id", "index", "extra_info")
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist([wrong]), path)
    with pytest.raises(ConfigError) as caught:
        read_queries(str(path))
    assert "row 1: field 'query_id' is missing (there are: " in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_first_name_that_says_something_is_taken() -> None:
    values, names, ignored = kept(
        {"question": "", "problem": "Which?", "query": "no", "id": 1, "index": 2}, True
    )
    assert values == {"query_id": 2, "question": "Which?"} and names == {
        "query_id": "index",
        "question": "problem",
    }
    assert ignored == {"question", "query", "id"}
    assert kept({"question": "", "id": 1}, True)[0] == {"query_id": 1, "question": ""}
    assert "query_id" not in kept({"image": "a.png", "id": 1}, False)[0]  # named after its picture, as before


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("conversations", [{"from": "gpt", "value": SECRET}], "holds no turn of human or user"),
        ("images", ["a.png", "b.png"], "holds 2 pictures; a question is about one"),
        ("image", {"path": 3.5}, "must name or hold a picture, not a number"),
        ("image", "data:image/png;base64", "holds a data URI without a comma"),
        ("image", "data:image/svg+xml,<svg/>", "holds 6 bytes that are no picture"),
        ("image", "data:image/png;base64,####", "holds base64 that is damaged"),
        ("image", b"GIVE ME A PICTURE", "holds 17 bytes that are no picture"),
    ],
)
def test_what_cannot_be_taken_names_its_field(field: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"^field '{field}' {words}"):
        kept({field: value}, True)


def test_a_table_is_read_in_the_columns_that_are_wanted() -> None:
    columns = [
        Column("Problem", True),
        Column("answer", True),
        Column("extra_info", False, ("idx", "answer")),
    ]
    assert kept_columns(columns, "FILE", True) == ["extra_info.idx", "Problem"]
    with pytest.raises(ConfigError, match=r"no column `question` \(there are: caption, label\)"):
        kept_columns([Column("caption", True), Column("label", True)], "FILE", True)


def test_labels_are_known_by_their_names() -> None:
    assert all(
        map(is_label, ("answer", "GroundTruth", "gt_label", "reward_model", "solution", "Answer Type"))
    )
    assert not any(map(is_label, ("table", "weight", "question", "image", "forwarded")))
