"""Reading the file of replies: good rows, bad rows named by line and field, and files that are none."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from valor_ray.errors import ConfigError
from valor_ray.reasoning.scoring.replies import BadRow, ReplyRow, read_replies
from valor_ray.rows import json_rows

GOOD = {"query_id": "q", "question": "How many?", "reply": "<plan>x</plan>"}


def rows_of(tmp_path: Path, *lines: bytes | str | dict) -> list:
    path = tmp_path / "replies.jsonl"
    raw = [
        line if isinstance(line, bytes) else (json.dumps(line) if isinstance(line, dict) else line).encode()
        for line in lines
    ]
    path.write_bytes(b"\n".join(raw) + b"\n")
    return list(read_replies(path))


def test_rows_come_in_order_with_their_line_and_without_further_fields(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, GOOD | {"answer": 3}, "", {**GOOD, "reply_id": 7, "query_id": 12})
    assert rows == [
        ReplyRow(1, None, "q", "How many?", "<plan>x</plan>"),
        ReplyRow(3, "7", "12", "How many?", "<plan>x</plan>"),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "not a JSON object but a list"),
        ("3", "not a JSON object but a number"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        ({"query_id": "q", "question": "x"}, "field 'reply' is missing"),
        ({"question": "x", "reply": "y"}, "field 'query_id' is missing"),
        (GOOD | {"reply": None}, "field 'reply' is null"),
        (GOOD | {"reply": 3}, "field 'reply' must be text, not a number"),
        (GOOD | {"reply": ["a"]}, "field 'reply' must be text, not a list"),
        (GOOD | {"question": {"a": 1}}, "field 'question' must be text, not an object"),
        (GOOD | {"question": "  "}, "field 'question' is empty"),
        (GOOD | {"query_id": True}, "field 'query_id' must be text that is not empty, not true or false"),
        (GOOD | {"query_id": ""}, "field 'query_id' must be text that is not empty, not empty text"),
        (GOOD | {"reply_id": 1.5}, "field 'reply_id' must be text that is not empty, not a number"),
        (GOOD | {"reply": "\ud800"}, "field 'reply' holds half a surrogate pair"),
    ],
)
def test_a_bad_row_is_named_by_line_and_field_and_the_next_is_read(tmp_path: Path, line, words: str) -> None:
    _, bad, good = rows_of(tmp_path, GOOD, line, GOOD)
    assert isinstance(bad, BadRow)
    assert bad.error.startswith("line 2: ") and words in bad.error
    assert isinstance(good, ReplyRow) and good.line == 3


def test_an_empty_reply_is_a_reply(tmp_path: Path) -> None:
    assert isinstance(rows_of(tmp_path, GOOD | {"reply": ""})[0], ReplyRow)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    assert isinstance(rows_of(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode())[0], ReplyRow)


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "LONGEST_LINE", 200)
    _, bad, good = rows_of(tmp_path, GOOD, "x" * 1000, GOOD)
    assert "longer than" in bad.error and good.line == 3


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), (b"", "the file is empty")])
def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path: Path, content, words: str) -> None:
    path = tmp_path / "replies.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_replies(path)


def test_parquet_is_read_by_column_and_its_nulls_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "replies.bin"  # known by its content, not by its name
    table = pa.table({"query_id": [1, 2], "question": ["x", "y"], "reply": ["a", None], "image": [b"", b""]})
    pq.write_table(table, path)
    good, bad = read_replies(path)
    assert good == ReplyRow(1, None, "1", "x", "a")
    assert bad.error == "line 2: field 'reply' is null and must be text"


def test_parquet_without_a_column_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "replies.parquet"
    pq.write_table(pa.table({"query_id": ["a"], "text": ["b"]}), path)
    with pytest.raises(ConfigError, match="no column question, reply"):
        list(read_replies(path))


def test_a_torn_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "replies.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ConfigError, match="not a readable parquet file"):
        list(read_replies(path))
