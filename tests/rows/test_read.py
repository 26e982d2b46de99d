"""Rows of files that somebody else has written: where each stands, what is wrong with it, and how much is read."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from valor_ray.errors import ConfigError
from valor_ray.rows import arrow_rows, json_rows
from valor_ray.rows.read import read_rows
from valor_ray.rows.row import Column, FileRow

TWO = [{"id": "a", "n": "1"}, {"id": "b", "n": "2"}]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def jsonl(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def read(path: Path) -> list[FileRow]:
    return list(read_rows(path, "FILE"))


def test_every_format_gives_the_same_fields_and_its_own_places(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(TWO), tmp_path / "t")  # told by its first bytes, not by its name
    places = {
        written(tmp_path / "t.jsonl", jsonl(*TWO)): ["line 1", "line 2"],
        written(tmp_path / "t.CSV", b"id,n\na,1\nb,2\n"): ["line 2", "line 3"],
        tmp_path / "t": ["row 1", "row 2"],
    }
    for path, places_of in places.items():
        got = read(path)
        assert [dict(row.fields) for row in got] == TWO and [row.place for row in got] == places_of
        assert [row.number for row in got] == [int(place.split()[1]) for place in places_of]
        with fsspec.open(f"memory://rows/{path.name}", "wb") as file:
            file.write(path.read_bytes())
        assert list(read_rows(f"/rows/{path.name}", "FILE", files=fsspec.filesystem("memory"))) == got


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\n \n", b"\xef\xbb\xbf\r\n"])
def test_byte_order_marks_and_empty_lines_are_no_rows(tmp_path: Path, before: bytes) -> None:
    (row,) = read(written(tmp_path / "t.jsonl", before + jsonl(TWO[0]) + b"\n"))
    assert row.fields == TWO[0] and not row.error and row.number == before.count(b"\n") + 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "not JSON ("),
        (b"[" * 100_000, "not JSON ("),
        (b'{"id": "\xff"}', "not UTF-8 (byte 9)"),
        (b'"text"', "not a JSON object but text"),
        (b"null", "not a JSON object but null"),
        (b"x" * 1000, "longer than"),
    ],
)
def test_a_line_that_is_no_row_says_why_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, words: str
) -> None:
    if words == "longer than":
        monkeypatch.setattr(json_rows, "LONGEST_LINE", 200)
    bad, good = read(written(tmp_path / "t.jsonl", line + b"\n" + jsonl(TWO[1])))
    assert bad.error.startswith(words) and bad.place == "line 1" and bad.fields == {}
    assert good == FileRow(2, "line 2", TWO[1])


def test_csv_keeps_line_breaks_and_names_rows_with_too_much(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", b'\xef\xbb\xbfid,n\n"a\nb",1\nc,2,3\r\nd,4\n')
    several, bad, good = read(path)
    assert several.fields == {"id": "a\nb", "n": "1"} and several.place == "line 3"
    assert bad.place == "line 4" and "put text that holds commas into quotes" in bad.error
    assert good.fields == {"id": "d", "n": "4"}


def test_columns_that_are_not_chosen_stay_in_the_file(tmp_path: Path) -> None:
    told: list[Sequence[Column]] = []

    def choose(columns: Sequence[Column]) -> list[str]:
        told.append(columns)
        return ["id"]

    csv_file = written(tmp_path / "t.csv", b"id,answer\na,7\n")
    table = pa.table({"id": ["a"], "answer": [7], "image": [b"\x89PNG"], "boxes": [[1.0, 2.0]]})
    pq.write_table(table, tmp_path / "t.parquet")
    (of_csv,) = read_rows(csv_file, "FILE", choose)
    (of_parquet,) = read_rows(tmp_path / "t.parquet", "FILE", choose)
    assert of_csv == FileRow(2, "line 2", {"id": "a"}, frozenset({"answer"}))
    assert of_parquet == FileRow(1, "row 1", {"id": "a"}, frozenset({"answer", "image", "boxes"}))
    assert told[1] == [
        Column("id", True),
        Column("answer", True),
        Column("image", False),
        Column("boxes", False),
    ]


def test_pictures_come_as_bytes_and_never_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_rows, "_MOST_BYTES", 2**20)
    monkeypatch.setattr(arrow_rows, "_COLUMN_BUFFER", 2**20)
    pictures = [os.urandom(200_000) for _ in range(60)]  # 12 MB in one row group
    table = pa.table({"id": list(range(60)), "image": [{"bytes": data, "path": "p"} for data in pictures]})
    pq.write_table(table, tmp_path / "t", use_dictionary=False, write_batch_size=1)

    class Counting(io.FileIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            Counting.taken += len(data)
            return data

    class Files:
        def open(self, path: str, mode: str) -> Counting:
            return Counting(path, mode)

    reading = read_rows(str(tmp_path / "t"), "FILE", files=Files())
    first = next(reading)
    assert first.fields["image"]["bytes"] == pictures[0]
    assert 0 < Counting.taken < 4_000_000
    assert [row.fields["image"]["bytes"] for row in reading] == pictures[1:]
    assert Counting.taken > 12_000_000


def test_no_file_is_said_at_once_and_a_torn_one_while_it_is_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=r"^FILE: no such file\. Give rows\.$"):
            read_rows(path, "FILE", needs="Give rows.")
    pq.write_table(pa.Table.from_pylist(TWO), tmp_path / "whole")
    half = written(tmp_path / "half", (tmp_path / "whole").read_bytes()[:200])
    torn = read_rows(half, "FILE")
    with pytest.raises(ConfigError, match=r"^FILE cannot be read: it is not a readable parquet file \("):
        next(torn)
    unclosed = read_rows(written(tmp_path / "t.csv", b'id\n"a\n'), "FILE")
    with pytest.raises(ConfigError, match=r"^FILE, after line 1: not CSV \(unexpected end of data\)"):
        list(unclosed)


def test_whatever_a_store_raises_names_the_file() -> None:
    class Gone:
        def open(self, path: str, mode: str) -> None:
            raise ConnectionResetError("the other side has gone")

    with pytest.raises(
        ConfigError, match=r"^FILE cannot be read: ConnectionResetError: .*Check name, rights"
    ):
        next(read_rows("x", "FILE", files=Gone()))
