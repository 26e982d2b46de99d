"""Whatever rows are kept in: read, or named as what it is with what to do."""

import bz2
import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from valor_ray.errors import ConfigError
from valor_ray.rows import json_rows
from valor_ray.rows.read import read_rows
from valor_ray.rows.row import Column, FileRow

ROWS = [{"id": number, "question": f"Wie groß ist {number}?"} for number in range(3)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
SHEET = "id,question\n" + "".join(f"{row['id']},{row['question']}\n" for row in ROWS)


def gzipped(content: bytes) -> bytes:
    """Without the time of day: content names a test, and two processes of pytest must find the same names."""
    return gzip.compress(content, mtime=0)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzipped,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def fields(path: Path) -> list[dict]:
    rows = list(read_rows(path, "FILE"))
    assert not [row.error for row in rows if row.error]
    return [{**row.fields, "id": int(row.fields["id"])} for row in rows]


def refused(path: Path) -> str:
    with pytest.raises(ConfigError, match=r"^FILE") as caught:
        list(read_rows(path, "FILE"))
    return str(caught.value)


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lines.jsonl", LINES),
        ("one line.json", json.dumps(ROWS)),
        ("list.json", json.dumps(ROWS, indent=1)),
        ("under data.json", json.dumps({"version": 1, "data": ROWS})),
        ("under data on lines.json", json.dumps({"version": 1, "data": ROWS}, indent=2)),
        ("objects over lines.json", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
        ("sheet.csv", SHEET),
        ("semicolons.csv", SHEET.replace(",", ";")),
        ("tabs.tsv", SHEET.replace(",", "\t")),
        ("of Excel.csv", "sep=;\r\n" + SHEET.replace(",", ";").replace("\n", "\r\n")),
    ],
)
def test_text_is_read_whatever_is_around_it(
    tmp_path: Path, name: str, text: str, encoding: str, packed: str
) -> None:
    path = written(tmp_path / (name + packed), PACKERS[packed](text.encode(encoding)))
    assert fields(path) == ROWS
    with fsspec.open("memory://formats/t", "wb") as file:
        file.write(path.read_bytes())
    files = fsspec.filesystem("memory")
    with fsspec.open(f"memory://formats/{path.name}", "wb") as file:
        file.write(path.read_bytes())
    there = read_rows(f"/formats/{path.name}", "FILE", files=files)
    assert [row.fields["question"] for row in there] == [row["question"] for row in ROWS]


def test_tables_are_read_whatever_they_are_called(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "parquet")
    feather.write_feather(table, tmp_path / "feather")
    with pa.OSFile(str(tmp_path / "stream"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table.slice(0, 1))
        stream.write_table(table.slice(1))
    for name in ("parquet", "feather", "stream"):
        rows = list(read_rows(tmp_path / name, "FILE", lambda columns: ["question"]))
        assert rows[2] == FileRow(3, "row 3", {"question": ROWS[2]["question"]}, frozenset({"id"})), name
    packed = written(tmp_path / "parquet.gz", gzip.compress((tmp_path / "parquet").read_bytes()))
    assert refused(packed) == "FILE is a table (parquet) in a packed file. Unpack it, and name the table."


def test_a_part_of_a_structure_is_read_without_the_rest(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{"q": "x", "extra": {"idx": 7, "answer": "3"}}, {"q": "y", "extra": None}])
    pq.write_table(table, tmp_path / "parquet")
    feather.write_feather(table, tmp_path / "feather")
    told: list[Sequence[Column]] = []

    def choose(columns: Sequence[Column]) -> list[str]:
        told.append(columns)
        return ["extra.idx"]

    for name in ("parquet", "feather"):
        rows = list(read_rows(tmp_path / name, "FILE", choose))
        assert [dict(row.fields) for row in rows] == [{"extra.idx": 7}, {"extra.idx": None}], name
        assert told[-1][1].parts == ("idx", "answer") and rows[0].unread == {"q"}


def zipped(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return data.getvalue()


def tarred() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("000.json"))
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.jsonl", b"", "is empty."),
        ("t.jsonl.gz", gzipped(b""), "is empty."),
        ("t.jsonl.gz", gzipped(gzipped(b"{}")), "is packed twice (gzip). Unpack it once."),
        ("t.xlsx", zipped("[Content_Types].xml", "xl/workbook.xml"), "is an Excel workbook (.xlsx). Save the sheet"),
        ("t.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook (.xls)"),
        ("t.ods", zipped("mimetype", "content.xml"), "is an OpenDocument sheet"),
        ("t.zip", zipped("queries.jsonl"), "is a zip archive. Unpack it"),
        ("t.zip", b"PK\x03\x04 and no more", "is a damaged zip archive"),
        ("t.npz", zipped("a.npy"), "is an archive of NumPy arrays"),
        ("t.bin", zipped("archive/data.pkl"), "is a file of torch.save. Such files can run code"),
        ("t.tar", tarred(), "is a tar archive (as of WebDataset). Unpack it"),
        ("t.tar.gz", gzipped(tarred()), "is a tar archive"),
        ("t.pkl", pickle.dumps(ROWS), "is a pickle. Such files can run code when they are loaded, so none ever is."),
        ("t", pickle.dumps(ROWS), "is a pickle"),
        ("t.pickle", pickle.dumps(ROWS, protocol=0), "is a pickle"),
        ("t.pt.gz", gzipped(pickle.dumps(ROWS, protocol=0)), "is a pickle"),
        ("t.xz", b"\xfd7zXZ\x00", "is an xz archive. Unpack it (unxz)."),
        ("t.sqlite", b"SQLite format 3\x00", "is an SQLite database"),
        ("t.h5", b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        ("t.feather", b"FEA1", "is a Feather file of version 1"),
        ("t.png", b"\x89PNG\r\n\x1a\n", "is a picture (PNG). Name a list of questions"),
        ("t.json", b"\n<!DOCTYPE html><html>", "is a web page. Download the file itself"),
        ("t.parquet", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the file."),
        ("t.bin", b"\x00\x01\x02", "is neither text nor a format that is known here"),
        ("t.jsonl", '{"id": 1}\n'.encode("utf-16-le"), "is neither text nor a format"),
        ("t.txt", b"id,question\n1,x\n", "is text, but not JSON. Write JSON lines, or name it .csv"),
        ("t.yaml", b"- id: 1\n", "is text, but not JSON"),
        ("t.csv", "id,question\n1,groß\n".encode("latin-1"), ": not UTF-8 (invalid continuation byte). Save it"),
        ("t.csv", b"id,id,q\n1,2,3\n", ": there are several columns 'id'. Rename"),
        ("t.csv", b'id,q\n1,"a "b" c"\n', ", after line 1: not CSV ("),
        ("t.arrow", b"ARROW1\0\0 and no more", " cannot be read: it is not a readable Arrow file ("),
        ("t.arrow", b"\xff\xff\xff\xff\x10\0\0\0", " cannot be read: it is not a readable Arrow file ("),
        ("t.jsonl.gz", gzipped(LINES.encode())[:-20], " cannot be read: EOFError: Compressed file ended"),
        ("t.json", json.dumps(ROWS, indent=1)[:-30].encode(), ", row 3: not JSON ("),
        ("t.json", json.dumps(ROWS).encode() + b"[1]", ", row 4: not JSON (there is more after the list)"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_rows_is_named_as_what_it_is(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    assert refused(written(tmp_path / name, content)).startswith(
        f"FILE{'' if words[0] in ' :,' else ' '}{words}"
    )


def test_columns_of_a_table_that_are_there_twice_are_refused_if_wanted(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array(["x"]), pa.array(["y"])], names=["id", "q", "q"])
    pq.write_table(table, tmp_path / "t")
    assert "several columns 'q'" in refused(tmp_path / "t")
    (row,) = read_rows(tmp_path / "t", "FILE", lambda columns: ["id"])
    assert row.fields == {"id": 1}


def test_cells_may_be_as_long_as_pictures(tmp_path: Path) -> None:
    long = "x" * 2**20
    (row,) = read_rows(written(tmp_path / "t.csv", f"id,image\n1,{long}\n"), "FILE")
    assert row.fields["image"] == long


def test_a_list_is_read_some_rows_at_a_time_and_a_long_row_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "_STEP", 64)
    monkeypatch.setattr(json_rows, "LONGEST_LINE", 1000)
    many = [{"id": number, "question": "?" * 200} for number in range(100)]
    path = written(tmp_path / "t.json", json.dumps(many, indent=3))
    scan = json_rows._Scan(path.open("rb"))
    first = next(scan.elements())
    assert first == many[0] and len(scan._text) < 1000
    assert fields(path) == many
    path = written(
        tmp_path / "long.json", json.dumps([*many[:2], {"id": 2, "question": "?" * 2000}], indent=3)
    )
    assert refused(path).startswith("FILE, row 3: not JSON (broken, or longer than")


def test_rows_of_a_list_that_are_no_objects_are_bad_rows(tmp_path: Path) -> None:
    bad, good, also = read_rows(written(tmp_path / "t.json", '[7, {"id": 1}, [2]]'), "FILE")
    assert bad == FileRow(1, "row 1", {}, error="not a JSON object but a number") and good.fields == {"id": 1}
    assert also.error == "not a JSON object but a list"
    (row,) = read_rows(written(tmp_path / "one.json", '{"id": 1, "data": [1, 2]}'), "FILE")
    assert row.fields == {"id": 1, "data": [1, 2]}  # a row that happens to have such a field
    assert list(read_rows(written(tmp_path / "none.json", "[]"), "FILE")) == []
