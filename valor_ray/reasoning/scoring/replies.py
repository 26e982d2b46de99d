"""Reads the file of replies that are to be scored, one row at a time, and says what is wrong with a bad row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError
from valor_ray.reasoning.score_row import content_hash
from valor_ray.rows.read import read_rows
from valor_ray.rows.row import Column, json_kind

FIELDS = ("query_id", "question", "reply")
ID_FIELDS = ("reply_id", "query_id")  # text, or a whole number that is taken as text
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


def read_replies(path: Path) -> Iterator[ReplyRow | BadRow]:
    """Rows of a JSONL or parquet file in order, in constant memory.

    Raises ConfigError when the file is not there or is empty; while rows are read when it breaks off, or is a parquet
    file without the columns.
    """
    name = f"--replies {path}"

    def choose(columns: Sequence[Column]) -> list[str]:
        names = {column.name for column in columns}
        if missing := [field for field in FIELDS if field not in names]:
            raise ConfigError(f"{name}: no column {', '.join(missing)}. {NEEDS}")
        return [field for field in ("reply_id", *FIELDS) if field in names]

    rows = read_rows(path, name, choose, needs=NEEDS)
    if path.stat().st_size == 0:
        raise ConfigError(f"{name}: the file is empty. {NEEDS}")
    return (
        BadRow(row.number, None, None, f"line {row.number}: {row.error}")
        if row.error
        else check_row(row.fields, row.number)
        for row in rows
    )


def check_row(fields: Mapping[str, Any], line: int) -> ReplyRow | BadRow:
    """The row when it has what scoring needs, else what is wrong with it."""
    ids = {name: _identity(fields.get(name)) for name in ID_FIELDS}
    for name in ("reply_id", *FIELDS):
        if problem := _problem(fields, name):
            return BadRow(line, ids["reply_id"], ids["query_id"], f"line {line}: field {name!r} {problem}")
    assert ids["query_id"] is not None
    return ReplyRow(line, ids["reply_id"], ids["query_id"], fields["question"], fields["reply"])


def _problem(fields: Mapping[str, Any], name: str) -> str:
    """What is wrong with one field; empty when nothing is."""
    value = fields.get(name)
    if value is None:
        missing = "is null and must be text" if name in fields else "is missing"
        return missing if name != "reply_id" else ""
    if name in ID_FIELDS:
        return "" if _identity(value) else f"must be text that is not empty, not {json_kind(value)}"
    if not isinstance(value, str):
        return f"must be text, not {json_kind(value)}"
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
