"""Reads the file of replies that are to be scored, one row at a time, and says what is wrong with a bad row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from valor_ray.errors import ConfigError
from valor_ray.runs.lines import LONGEST_LINE, value_of

FIELDS = ("query_id", "question", "reply")
ID_FIELDS = ("reply_id", "query_id")  # text, or a whole number that is taken as text
_BATCH = 1024  # parquet rows read at a time
_KINDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
NEEDS = (
    "Every row needs query_id, question and reply (text); reply_id is optional; further fields are ignored."
)


@dataclass(frozen=True)
class ReplyRow:
    """One reply to one question. A row without `reply_id` is named after its place among its query's replies."""

    line: int  # 1-based line (JSONL) or row (parquet)
    reply_id: str | None
    query_id: str
    question: str
    reply: str

    @property
    def content(self) -> str:
        """Hash of what is scored: 16 hex digits."""
        return content_hash(self.question, self.reply)


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be scored: it stays a row, with its error."""

    line: int
    reply_id: str | None
    query_id: str | None
    error: str  # names line and field


def content_hash(question: str, reply: str) -> str:
    """16 hex digits of sha256 over both texts."""
    return hashlib.sha256(f"{len(question)} {question}{reply}".encode()).hexdigest()[:16]


def read_replies(path: Path) -> Iterator[ReplyRow | BadRow]:
    """Rows of a JSONL or parquet file in order, in constant memory.

    Raises ConfigError when the file is not there, is empty, or is a parquet file without the columns.
    """
    if not path.is_file():
        raise ConfigError(f"--replies {path}: no such file. {NEEDS}")
    if path.stat().st_size == 0:
        raise ConfigError(f"--replies {path}: the file is empty. {NEEDS}")
    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    return _parquet_rows(path) if parquet else _json_rows(path)


def check_row(row: Any, line: int) -> ReplyRow | BadRow:
    """The row when it has what scoring needs, else what is wrong with it."""
    if not isinstance(row, Mapping):
        return BadRow(line, None, None, f"line {line}: {_kind(row)} and not a JSON object")
    ids = {name: _identity(row.get(name)) for name in ID_FIELDS}
    for name in ("reply_id", *FIELDS):
        if problem := _problem(row, name):
            return BadRow(line, ids["reply_id"], ids["query_id"], f"line {line}: field {name!r} {problem}")
    assert ids["query_id"] is not None
    return ReplyRow(line, ids["reply_id"], ids["query_id"], row["question"], row["reply"])


def _problem(row: Mapping[str, Any], name: str) -> str:
    """What is wrong with one field; empty when nothing is."""
    value = row.get(name)
    if value is None:
        missing = "is null and must be text" if name in row else "is missing"
        return missing if name != "reply_id" else ""
    if name in ID_FIELDS:
        return "" if _identity(value) else f"must be text that is not empty, not {_kind(value)}"
    if not isinstance(value, str):
        return f"must be text, not {_kind(value)}"
    if name == "question" and not value.strip():
        return "is empty"
    return "" if _encodable(value) else "holds half a surrogate pair, which is not text"


def _identity(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value and _encodable(value) else None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "empty text" if not value else "text"
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)


def _json_rows(path: Path) -> Iterator[ReplyRow | BadRow]:
    with path.open("rb") as file:
        for number, line in _lines(file):
            if line is None:
                yield BadRow(number, None, None, f"line {number}: longer than {LONGEST_LINE >> 20} MiB")
            elif line.strip():
                yield _json_row(line, number)


def _json_row(line: bytes, number: int) -> ReplyRow | BadRow:
    try:
        return check_row(value_of(line, number), number)
    except ValueError as error:
        return BadRow(number, None, None, f"line {number}: {error}")


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines; None for one that is too long."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        whole = line.endswith(b"\n") or len(line) < LONGEST_LINE
        yield number, line if whole else None
        while not whole:
            rest = file.readline(LONGEST_LINE)
            whole = rest.endswith(b"\n") or len(rest) < LONGEST_LINE


def _parquet_rows(path: Path) -> Iterator[ReplyRow | BadRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = set(file.schema_arrow.names)
            if missing := [name for name in FIELDS if name not in names]:
                raise ConfigError(f"--replies {path}: no column {', '.join(missing)}. {NEEDS}")
            columns = [name for name in ("reply_id", *FIELDS) if name in names]
            line = 0
            for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
                for row in batch.to_pylist():
                    line += 1
                    yield check_row(row, line)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"--replies {path}: not a readable parquet file ({error}).") from error
