"""Opens what queries are read from: a file, a folder, a URL or a hub data set. Labels stay behind here (law 8).

A row leaves with the fields of KEPT only. Parquet and hub columns beyond them are not even read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from valor_ray.errors import ConfigError
from valor_ray.runs.lines import LONGEST_LINE, value_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

ID_FIELDS = ("query_id", "q_index", "index")  # the first that a row has names it
KEPT = frozenset((*ID_FIELDS, "image_index", "question", "image"))
QUERY_FILE = "queries.jsonl"  # of a folder, with its own query ids
QUESTION_FILES = ("questions.csv", "questions.jsonl")  # beside pictures
_LABEL = re.compile(r"(?:answers?|labels?|b?box(?:e?s)?|gt|(?:ground)?truth|targets?|masks?)")


@dataclass(frozen=True)
class Row:
    """One row as it was found, without the fields that are not kept."""

    place: str  # "line 3"
    fields: Mapping[str, Any]  # of KEPT
    ignored: frozenset[str] = frozenset()  # names of the fields that were left behind
    error: str = ""  # why it cannot be read as a row


@dataclass(frozen=True)
class Source:
    """An opened source: its rows can be gone through once."""

    name: str  # file or data set, for messages
    folder: str | None  # what relative pictures are relative to; None: unknown (hub)
    own_ids: bool  # whether rows must bring their ids; else those without are named after their picture
    rows: Iterator[Row]


def is_label(column: str) -> bool:
    """Whether a column's name says that it holds an answer: final_answer, bbox, gt_label, ..."""
    return any(_LABEL.fullmatch(word) for word in re.split(r"[^a-z]+", column.lower()))


def open_source(source: str) -> Source:
    """Open a JSONL, parquet or CSV file, a folder (paths or fsspec URLs), or `hf:owner/name[:split]`.

    A folder holds queries.jsonl, or questions.csv or questions.jsonl beside pictures. Raises ConfigError when there is
    nothing to read; reading the rows raises it when the file breaks off.
    """
    if source.startswith("hf:") and not source.startswith("hf://"):
        return Source(source, None, True, _hub_rows(source))
    with _readable(source):
        import fsspec

        files, path = fsspec.core.url_to_fs(source)
        if not files.exists(path):
            raise ConfigError(f"{source}: no such file or folder. Correct the path.")
        if files.isdir(path):
            path = _question_file(files, path, source)
        name = files.unstrip_protocol(path).removeprefix("file://")
        folder, _, file_name = name.rpartition("/")
        return Source(name, folder, file_name not in QUESTION_FILES, _file_rows(files, path, name))


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """Whatever a store's driver or a file format raises becomes a ConfigError that names the source."""
    try:
        yield
    except ConfigError:
        raise
    except ImportError as error:
        raise ConfigError(f"{source}: {error}. Install that package beside valor_ray.") from error
    except Exception as error:  # each store's driver has errors of its own
        raise ConfigError(
            f"{source} cannot be read: {type(error).__name__}: {error}. Check name, rights, network and file."
        ) from error


def _question_file(files: AbstractFileSystem, folder: str, source: str) -> str:
    found = [
        path for name in (QUERY_FILE, *QUESTION_FILES) if files.isfile(path := f"{folder.rstrip('/')}/{name}")
    ]
    if not found:
        raise ConfigError(
            f"{source}: the folder holds none of {QUERY_FILE}, {', '.join(QUESTION_FILES)}. Put such a file beside the "
            "pictures (image, question a row), or have questions written: python -m jobs.write_queries --images "
            f"{source} --out {source.rstrip('/')}/{QUERY_FILE}"
        )
    if len(found) > 1:
        raise ConfigError(f"{source}: the folder holds {' and '.join(found)}. Name the file that is meant.")
    return found[0]


def _file_rows(files: AbstractFileSystem, path: str, name: str) -> Iterator[Row]:
    with _readable(name), files.open(path, "rb") as file:
        if path.lower().endswith(".csv"):
            yield from _csv_rows(file, name)
            return
        parquet = file.read(4) == b"PAR1"
        file.seek(0)
        yield from _parquet_rows(file, name) if parquet else _json_rows(file)


def _json_rows(file: BinaryIO) -> Iterator[Row]:
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            yield Row(f"line {number}", {}, error=f"longer than {LONGEST_LINE >> 20} MiB")
            return
        if line.strip():
            yield _json_row(line, number)


def _json_row(line: bytes, number: int) -> Row:
    place = f"line {number}"
    try:
        row = value_of(line, number)
    except ValueError as error:
        return Row(place, {}, error=str(error))
    return _kept(row, place) if isinstance(row, dict) else Row(place, {}, error="not a JSON object")


def _kept(row: Mapping[str, Any], place: str) -> Row:
    return Row(place, {key: row[key] for key in KEPT & row.keys()}, frozenset(row.keys() - KEPT))


def _csv_rows(file: BinaryIO, name: str) -> Iterator[Row]:
    rows = csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""), strict=True)
    _check_columns(rows.fieldnames or (), name)
    for row in rows:
        place = f"line {rows.line_num}"
        if row.pop(None, None) is not None:  # csv's key for what is too much
            yield Row(place, {}, error="more values than columns: put text that holds commas into quotes")
        else:
            yield _kept(row, place)


def _parquet_rows(file: BinaryIO, name: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as table:
        schema = table.schema_arrow
        pixels = {f.name for f in schema if pa.types.is_nested(f.type) or "binary" in str(f.type)}
        keep, ignored = _split(schema.names, pixels)
        _check_columns(keep, name)
        number = 0
        for batch in table.iter_batches(batch_size=1024, columns=keep):
            for row in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", row, ignored)


def _hub_rows(source: str) -> Iterator[Row]:
    name, split = source.removeprefix("hf:"), ""
    if not Path(name).exists():
        name, _, split = name.partition(":")
    with _readable(source):
        import datasets

        places = [Path(name, split)] if split else [Path(name), Path(name, "train")]
        saved = [place for place in places if (place / "state.json").is_file()]  # by Dataset.save_to_disk
        table = (
            datasets.load_from_disk(saved[0])
            if saved
            else datasets.load_dataset(name, split=split or "train")
        )
        pixels = {name for name, kind in table.features.items() if not isinstance(kind, datasets.Value)}
        keep, ignored = _split(table.column_names, pixels)
        _check_columns(keep, source)
        for number, row in enumerate(table.select_columns(keep), start=1):  # other columns are not decoded
            yield Row(f"row {number}", row, ignored)


def _split(columns: Iterable[str], pixels: set[str]) -> tuple[list[str], frozenset[str]]:
    """Columns to read, and the others; an image column with pixels instead of a path is one of the others."""
    keep = [name for name in columns if name in KEPT and (name != "image" or name not in pixels)]
    return keep, frozenset(columns) - frozenset(keep)


def _check_columns(columns: Iterable[str], name: str) -> None:
    if "question" not in columns:
        raise ConfigError(f"{name}: there is no column `question`. Rename the one that holds the questions.")
