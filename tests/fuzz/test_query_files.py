"""Files of queries, whatever has happened to them: queries or a ConfigError, in bounded memory, and never a label."""

import base64
import gzip
import io
import json
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from valor_ray.errors import ConfigError
from valor_ray.queries.fields import IMAGE_FIELDS, MORE_IDS, QUESTION_FIELDS, is_label, kept
from valor_ray.queries.read import read_queries

SECRET = "the-answer-is-seven"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
MOST = 400 * 2**20  # bytes that the largest of these tests may take beside what was there before
ROWS: list[dict[str, Any]] = [
    {
        "query_id": f"q{number}",
        "question": f"How many {number}?",
        "image": base64.b64encode(PICTURE).decode() if number % 2 else "https://host/a.png",
        "answer": SECRET,
        "extra_info": {"idx": number, "answer": SECRET},
        "conversations": [{"from": "human", "value": "Which?"}, {"from": "gpt", "value": SECRET}],
    }
    for number in range(6)
]


def _sheet(between: str) -> bytes:
    head = between.join(("query_id", "question", "image", "answer"))
    lines = (between.join((row["query_id"], f'"{row["question"]}"', row["image"], SECRET)) for row in ROWS)
    return "\n".join((head, *lines)).encode()


def _table(write: Callable[[pa.Table, Any], None]) -> bytes:
    sink = io.BytesIO()
    rows = [{**row, "image": {"bytes": PICTURE, "path": "a.png"}} for row in ROWS]
    write(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _stream(table: pa.Table, sink: Any) -> None:
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)


LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
FILES: dict[str, bytes] = {
    "t.jsonl": LINES,
    "t.json": json.dumps(ROWS, indent=1).encode(),
    "d.json": json.dumps({"data": ROWS}).encode(),
    "u.jsonl": LINES.decode().encode("utf-16"),
    "t.jsonl.gz": gzip.compress(LINES),
    "t.jsonl.zst": pa.compress(LINES, "zstd", asbytes=True),
    "t.csv": _sheet(","),
    "t.tsv": _sheet("\t"),
    "t.parquet": _table(pq.write_table),
    "t.feather": _table(feather.write_feather),
    "t.lz4.arrow": _table(lambda table, sink: feather.write_feather(table, sink, compression="lz4")),
    "t.arrow": _table(_stream),
}


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file of one of the formats, with bytes changed, cut out, put in, or taken from another file."""
    name = draw(st.sampled_from(sorted(FILES)))
    data = bytearray(FILES[name])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from("change flip cut drop put splice".split())):
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
            case "flip":
                data[at : at + 1] = bytes([(data[at] if data else 0) ^ (1 << draw(st.integers(0, 7)))])
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + draw(st.integers(1, 64))]
            case "put":
                data[at:at] = draw(
                    st.sampled_from((b'"', b"{", b"[" * 2000, b"\0", b"\xff\xfe", b"\n", b"9" * 5000))
                )
            case "splice":
                other = FILES[draw(st.sampled_from(sorted(FILES)))]
                data[at:] = other[draw(st.integers(0, len(other))) :]
    return name, bytes(data)


def _taken() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _read(name: str, data: bytes) -> list[str]:
    """What comes of a file: queries as text, or an error's words."""
    said: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder, name)).write_bytes(data)
        try:
            return [*map(repr, read_queries(str(path), None, said.append)), *said]
        except ConfigError as error:
            return [str(error)]


@given(broken())
def test_a_broken_file_gives_queries_or_says_what_is_wrong_with_it(file: tuple[str, bytes]) -> None:
    name, data = file
    before = _taken()
    for text in _read(name, data):
        assert SECRET not in text or name.endswith((".csv", ".tsv"))  # whose cells may have moved
    assert _taken() - before < MOST


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=200))
def test_bytes_under_any_name_are_no_crash(name: str, data: bytes) -> None:
    assert _read(name, data)
    assert _read(name, FILES[name][:8] + data)


NAMES = (
    *QUESTION_FIELDS,
    *IMAGE_FIELDS,
    *MORE_IDS,
    "query_id",
    "index",
    "image_index",
    "extra_info",
    "answer",
    "x",
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        (base64.b64encode(PICTURE).decode(), "data:;base64,AAAA", "C:\\a.png", "x" * 400, "\0")
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("from", "role", "value", "content", "bytes", "path", "url", "idx")), inner
        )
    ),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6), max_size=3))
def test_rows_with_any_values_are_queries_or_are_named(rows: list[dict[str, Any]]) -> None:
    text = "\n".join(json.dumps(row) for row in rows).encode()
    for said in _read("t.jsonl", text):
        assert said.replace("\n", "").isprintable()


@given(st.dictionaries(st.text(max_size=12) | st.sampled_from(NAMES), VALUES), st.booleans())
def test_only_fields_of_known_names_are_taken(row: dict[str, Any], own_ids: bool) -> None:
    marked = {name: SECRET if is_label(name) else value for name, value in row.items()}
    try:
        values, names, ignored = kept(marked, own_ids)
    except ValueError as error:
        assert SECRET not in str(error)
        return
    assert SECRET not in repr(values)
    wanted = {*QUESTION_FIELDS, *IMAGE_FIELDS, *MORE_IDS, "query_id", "q_index", "index", "image_index"}
    assert {name.strip().lower() for name in names.values()} <= wanted and values.keys() == names.keys()
    assert {name.partition(".")[0] for name in (*names.values(), *ignored)} >= {
        name.partition(".")[0] for name in row
    }
