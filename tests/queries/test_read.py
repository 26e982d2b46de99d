"""Queries from every source: checked row by row, without labels, and apart from what the policy is measured with."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from valor_ray.errors import ConfigError
from valor_ray.queries.fields import is_label
from valor_ray.queries.read import read_queries
from valor_ray.records import Query
from valor_ray.tabletop.dataset import write_dataset

ROWS = [{"query_id": "a", "question": "How many balls?"}, {"query_id": "b", "question": "Is there a cone?"}]
QUERIES = [Query("a", "How many balls?"), Query("b", "Is there a cone?")]


def jsonl(path: Path, rows: list[object]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def refused(source: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_queries(source, None)
    return str(caught.value)


def test_jsonl_parquet_and_urls_give_the_same_queries(tmp_path: Path) -> None:
    import fsspec

    path = jsonl(tmp_path / "q.jsonl", list(ROWS))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "q.parquet")
    with fsspec.open("memory://set/q.jsonl", "wb") as file:
        file.write(Path(path).read_bytes())
    with fsspec.open("memory://set/other", "wb") as file:  # told by its content, not its name
        file.write((tmp_path / "q.parquet").read_bytes())
    for source in (
        path,
        f"file://{path}",
        str(tmp_path / "q.parquet"),
        "memory://set/q.jsonl",
        "memory://set/other",
    ):
        assert read_queries(source, None) == QUERIES, source
        assert read_queries(source, 1) == QUERIES[:1], source


def test_a_rendered_folder_and_its_file_and_url_are_read_with_pictures_and_without_truth(
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path, 2, 0)
    queries = read_queries(str(tmp_path), None)
    assert len(queries) == 4 and all(Path(query.image).is_file() for query in queries)
    assert (
        queries
        == read_queries(str(tmp_path / "queries.jsonl"), None)
        == read_queries(f"file://{tmp_path}", None)
    )


def test_pictures_of_a_remote_folder_become_urls() -> None:
    import fsspec

    with fsspec.open("memory://shots/questions.csv", "w") as file:
        file.write("image,question\na.png,Is it big?\nhttps://x/b.png,Is it red?\n")
    assert read_queries("memory://shots", None) == [
        Query("a.png#1", "Is it big?", "memory:///shots/a.png"),
        Query("https://x/b.png#1", "Is it red?", "https://x/b.png"),
    ]


@pytest.mark.parametrize("name", ["questions.csv", "questions.jsonl"])
def test_rows_beside_pictures_are_named_after_them(tmp_path: Path, name: str) -> None:
    for picture in ("k.png", "p.png"):
        (tmp_path / picture).touch()
    rows = [("k.png", "Which is bigger, {a, b}?"), ("p.png", "How far?"), ("k.png", "How tall?")]
    if name.endswith("csv"):
        text = "image,question\n" + "".join(f'{image},"{question}"\n' for image, question in rows)
        (tmp_path / name).write_text("\ufeff" + text)
    else:
        jsonl(tmp_path / name, [{"image": image, "question": question} for image, question in rows])
    found = [(q.query_id, q.question, Path(q.image).name) for q in read_queries(str(tmp_path), None)]
    assert found == [
        ("k.png#1", "Which is bigger, {a, b}?", "k.png"),
        ("p.png#1", "How far?", "p.png"),
        ("k.png#2", "How tall?", "k.png"),
    ]


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")


@pytest.mark.usefixtures("hub_cache")
def test_a_data_set_in_the_hubs_format_is_read_by_split_and_slice_without_answers(
    tmp_path: Path,
) -> None:
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as Pixels

    features = Features(
        {
            "image_index": Value("string"),
            "q_index": Value("int64"),
            "image": Image(),
            "question": Value("string"),
        }
        | {"answer": Value("string"), "answer_type": Value("string")}
    )
    rows = [
        {
            "image_index": f"p{n // 2}",
            "q_index": n % 2,
            "image": Pixels.new("RGB", (4, 4)),
            "question": f"How many {n}?",
        }
        | {"answer": "7", "answer_type": "int"}
        for n in range(4)
    ]
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    Dataset.from_list(rows, features=features).to_parquet(folder / "train-00000-of-00001.parquet")
    said: list[str] = []
    queries = read_queries(f"hf:{tmp_path}/set", None, said.append)
    assert [query.query_id for query in queries] == ["p0-0", "p0-1", "p1-0", "p1-1"]
    held = queries[3].image  # the pixels are not kept, only what they are
    assert queries[3] == Query("p1-1", "How many 3?", held) and held.startswith("ni:///sha-256;")
    assert said == [f"hf:{tmp_path}/set: 2 columns ignored; labels by their names: answer, answer_type"]
    assert read_queries(f"hf:{tmp_path}/set:train[1:3]", None) == queries[1:3]
    assert read_queries(f"hf:{tmp_path}/set", 2) == queries[:2]
    assert 'Unknown split "best"' in refused(f"hf:{tmp_path}/set:best")
    assert read_queries(str(folder / "train-00000-of-00001.parquet"), None) == queries


@pytest.mark.usefixtures("hub_cache")
def test_pictures_of_a_data_set_may_stand_in_lists_and_are_not_decoded(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Image, List, Value

    features = Features({"id": Value("string"), "problem": Value("string"), "images": List(Image())})
    broken = b"\x89PNG\r\n\x1a\n and no more"
    rows = [{"id": "a", "problem": "<image>Which?", "images": [{"bytes": broken, "path": None}]}]
    Dataset.from_list(rows, features=features).save_to_disk(tmp_path / "set")
    (query,) = read_queries(str(tmp_path / "set"), pictures=tmp_path / "pictures")
    assert (query.query_id, query.question) == ("a", "Which?") and Path(query.image).read_bytes() == broken


@pytest.mark.usefixtures("hub_cache")
def test_a_data_set_saved_to_disk_is_read(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    table = Dataset.from_list(ROWS)
    table.save_to_disk(tmp_path / "one")
    DatasetDict({"train": table, "rest": table.select([1])}).save_to_disk(tmp_path / "parts")
    assert read_queries(f"hf:{tmp_path}/one", None) == read_queries(f"hf:{tmp_path}/parts", None) == QUERIES
    assert read_queries(f"hf:{tmp_path}/parts:rest", None) == QUERIES[1:]
    assert "cannot be read" in refused(f"hf:{tmp_path}/parts:best")


def test_labels_never_come_along_and_are_counted(tmp_path: Path) -> None:
    labelled = [
        row | {"answer": 3, "gt_bbox": [1, 2, 3, 4], "final_answer": "x", "note": "n"} for row in ROWS
    ]
    said: list[str] = []
    assert read_queries(jsonl(tmp_path / "q.jsonl", list(labelled)), None, said.append) == QUERIES
    assert set(Query.__dataclass_fields__) == {"query_id", "question", "image"}
    (line,) = said
    assert line.endswith("q.jsonl: 4 columns ignored; labels by their names: answer, final_answer, gt_bbox")
    assert (
        not is_label("table")
        and not is_label("weight")
        and is_label("GroundTruth")
        and is_label("Answer Type")
    )


def test_queries_beyond_the_limit_are_told_and_not_looked_at(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "q.jsonl", [*ROWS, "{not json"])
    said: list[str] = []
    assert read_queries(path, 2, said.append, setting="grounding.query_limit") == QUERIES
    assert read_queries(path, 2, said.append) == QUERIES
    told = f"{path}: the first 2 queries are used, and there are more"
    assert said == [f"{told} (grounding.query_limit)", told]
    said.clear()
    assert read_queries(jsonl(tmp_path / "all.jsonl", list(ROWS)), 2, said.append) == QUERIES and said == []


def test_each_wrong_row_is_named_with_its_field_and_ten_are_shown(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        "{not json",
        "[1]",
        {"question": "Which?"},
        {"query_id": "", "question": "Which?"},
        {"query_id": True, "question": "Which?"},
        {"query_id": "c"},
        {"query_id": "d", "question": "  "},
        {"query_id": "e", "question": "x" * 2001},
        {"query_id": "f", "question": 7},
        {"query_id": "a", "question": "Which?"},
        {"query_id": "g", "question": "Which?", "image": "no.png"},
        {"query_id": "h", "question": "Which?", "image": 7.5},
    ]
    path = jsonl(tmp_path / "q.jsonl", list(rows))
    message = refused(path)
    assert message.startswith(f"{path}: 12 problems. The first 10:\n  line 3: not JSON")
    lines = message.splitlines()
    assert len(lines) == 12 and "Correct these rows" in lines[-1]
    for line, words in {
        2: "line 4: not a JSON object",
        3: "line 5: field 'query_id' is missing",
        4: "line 6: field 'query_id' must be text",
        5: "line 7: field 'query_id' must be text that is not empty, not True",
        6: "line 8: field 'question' is missing (there are: query_id)",
        7: "line 9: field 'question': The question is empty",
        8: "line 10: field 'question': The question has 2,001 characters",
        9: "line 11: field 'question': The question must be text",
        10: "line 12: query_id 'a' is that of line 1 already",
    }.items():
        assert words in lines[line], lines[line]
    assert read_queries(path, 2) == QUERIES  # what comes later is not looked at
    rest = refused(jsonl(tmp_path / "rest.jsonl", list(rows[12:])))
    assert f"line 1: field 'image': there is no file {tmp_path}/no.png" in rest
    assert "line 2: field 'image' must name or hold a picture, not a number" in rest


def test_what_is_no_source_says_what_to_do(tmp_path: Path) -> None:
    assert "no such file or folder" in refused(str(tmp_path / "none.jsonl"))
    assert "empty.jsonl is empty. Write" in refused(jsonl(tmp_path / "empty.jsonl", []))
    assert "there are no queries in it" in refused(jsonl(tmp_path / "blank.jsonl", ["", " "]))
    assert "Protocol not known: foo" in refused("foo://x/q.jsonl")
    folder = tmp_path / "pictures"
    folder.mkdir()
    assert f"jobs.write_queries --images {folder} --out {folder}/queries.jsonl" in refused(str(folder))
    for name in ("questions.csv", "questions.jsonl"):
        (folder / name).touch()
    assert "Name the file that is meant" in refused(str(folder))
    (folder / "questions.jsonl").unlink()
    (folder / "questions.csv").write_text("image,caption\n")
    assert "no column `question`" in refused(str(folder))
    (folder / "questions.csv").write_text("image,question\na.png,Is it a, or b?\n")
    assert "line 2: more values than columns" in refused(str(folder))
    pq.write_table(pa.Table.from_pylist([{"query_id": "a", "text": "x"}]), tmp_path / "q.parquet")
    assert "no column `question`" in refused(str(tmp_path / "q.parquet"))
    whole = (tmp_path / "q.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refused(str(tmp_path / "half.parquet"))
