"""The one reader of rows that somebody else has written: JSONL, parquet and CSV files, here or behind fsspec.

A row that cannot be read stays a row, with its place and what is wrong with it; a file that breaks off raises. Memory
is bounded however long the file is. What a row must hold, and which of its fields are kept, is for those who read:
queries/sources.py, reasoning/scoring/replies.py and the benchmarks.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from pyarrow.parquet import ParquetFile

LONGEST_LINE = 64 * 2**20  # bytes of a JSONL row, characters of a CSV line
_MOST_ROWS, _MOST_BYTES = 1024, 16 * 2**20  # of a parquet file, decoded at a time
_COLUMN_BUFFER = 8 * 2**20  # bytes; without it, or with pre_buffer, pyarrow holds a whole row group
_JSON_KINDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class FileRow:
    """One row as it stands in its file."""

    number: int  # 1-based; of the line (JSONL, CSV: its last one) or of the row (parquet)
    place: str  # "line 3" or "row 3"
    fields: Mapping[str, Any]  # JSON values; of a parquet file bytes too
    unread: frozenset[str] = frozenset()  # columns of its file that were not chosen
    error: str = ""  # why it cannot be read; then there are no fields


@dataclass(frozen=True)
class Column:
    """A column of a file that names its columns before the first row."""

    name: str
    plain: bool  # text, numbers, yes or no; else bytes (pictures), lists, structures


Choose = Callable[[Sequence[Column]], Collection[str]]  # the columns to read; may raise ConfigError


def read_rows(
    path: Path | str,
    name: str,
    choose: Choose | None = None,
    *,
    files: AbstractFileSystem | None = None,
    needs: str = "Correct the path.",
) -> Iterator[FileRow]:
    """The rows of a file in order, empty lines left out: parquet by its first bytes, CSV by its name, else JSONL.

    name: how messages call the file. choose: told the columns of a parquet or CSV file, before the first row; the
    others are not read (default: all are). Rows of JSONL have all their fields. files: where `path` lies; None: here.
    needs: what to do when there is no such file. Raises ConfigError at once in that case, and while rows are read when
    the file breaks off or cannot be read.
    """
    with readable(name):
        if files is None and not Path(path).is_file():
            raise ConfigError(f"{name}: no such file. {needs}")
    return _rows(str(path), name, choose or _all, files)


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Whatever a store's driver or a file format raises becomes a ConfigError that names the source."""
    try:
        yield
    except ConfigError:
        raise
    except ImportError as error:
        raise ConfigError(f"{name}: {error}. Install that package beside valor_ray.") from error
    except Exception as error:  # each store's driver has errors of its own
        raise ConfigError(
            f"{name} cannot be read: {type(error).__name__}: {error}. Check name, rights, network and file."
        ) from error


def json_kind(value: Any) -> str:
    """What a JSON value is, for messages."""
    if isinstance(value, str):
        return "empty text" if not value else "text"
    return "null" if value is None else _JSON_KINDS.get(type(value), type(value).__name__)


def _all(columns: Sequence[Column]) -> Collection[str]:
    return [column.name for column in columns]


def _rows(path: str, name: str, choose: Choose, files: AbstractFileSystem | None) -> Iterator[FileRow]:
    with readable(name), open(path, "rb") if files is None else files.open(path, "rb") as file:
        if path.lower().endswith(".csv"):
            yield from _csv_rows(file, choose)
            return
        parquet = file.read(4) == b"PAR1"
        file.seek(0)
        yield from _parquet_rows(file, name, choose) if parquet else _json_rows(file)


def _json_rows(file: BinaryIO) -> Iterator[FileRow]:
    for number, line in _lines(file):
        if line is None:
            yield _bad_line(number, f"longer than {LONGEST_LINE >> 20} MiB")
        elif line.strip():
            yield _json_row(line, number)


def _json_row(line: bytes, number: int) -> FileRow:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return _bad_line(number, f"not UTF-8 (byte {error.start + 1})")
    except (ValueError, RecursionError) as error:
        return _bad_line(number, f"not JSON ({error})")
    if not isinstance(value, dict):
        return _bad_line(number, f"not a JSON object but {json_kind(value)}")
    return FileRow(number, f"line {number}", value)


def _bad_line(number: int, error: str) -> FileRow:
    return FileRow(number, f"line {number}", {}, error=error)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines, the first without its byte order mark; None for one that is too long."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        whole = line.endswith(b"\n") or len(line) < LONGEST_LINE
        yield number, (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line) if whole else None
        while not whole:
            rest = file.readline(LONGEST_LINE)
            whole = rest.endswith(b"\n") or len(rest) < LONGEST_LINE


def _csv_rows(file: BinaryIO, choose: Choose) -> Iterator[FileRow]:
    table = csv.DictReader(_csv_lines(file), strict=True)
    columns = table.fieldnames or ()
    chosen = choose([Column(name, True) for name in columns])
    unread = frozenset(columns) - frozenset(chosen)
    for row in table:
        if row.pop(None, None) is not None:  # csv's key for what is too much
            yield _bad_line(
                table.line_num, "more values than columns: put text that holds commas into quotes"
            )
        else:
            fields = {name: row[name] for name in chosen}
            yield FileRow(table.line_num, f"line {table.line_num}", fields, unread)


def _csv_lines(file: BinaryIO) -> Iterator[str]:
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"a line is longer than {LONGEST_LINE >> 20} MiB")
        yield line


def _parquet_rows(file: BinaryIO, name: str, choose: Choose) -> Iterator[FileRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, buffer_size=_COLUMN_BUFFER, pre_buffer=False) as table:
            columns = [_column(field) for field in table.schema_arrow]
            chosen = list(choose(columns))
            unread = frozenset(column.name for column in columns) - frozenset(chosen)
            number = 0
            for batch in table.iter_batches(batch_size=_batch_rows(table, chosen), columns=chosen):
                for fields in batch.to_pylist():
                    number += 1
                    yield FileRow(number, f"row {number}", fields, unread)
    except pa.ArrowException as error:
        raise ConfigError(
            f"{name} cannot be read: it is not a readable parquet file ({error}). Write or download it again."
        ) from error


def _column(field: Any) -> Column:
    import pyarrow as pa

    return Column(field.name, not (pa.types.is_nested(field.type) or "binary" in str(field.type)))


def _batch_rows(table: ParquetFile, chosen: Collection[str]) -> int:
    """How many rows are decoded at a time: fewer where they hold pictures."""
    widest = 1.0  # bytes of a row
    for group in map(table.metadata.row_group, range(table.metadata.num_row_groups)):
        chunks = [group.column(index) for index in range(group.num_columns)]
        size = sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if chunk.path_in_schema in chosen or chunk.path_in_schema.split(".")[0] in chosen
        )
        widest = max(widest, size / max(group.num_rows, 1))
    return max(1, min(_MOST_ROWS, int(_MOST_BYTES / widest)))
