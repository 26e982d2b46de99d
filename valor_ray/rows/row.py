"""What a row of somebody else's file is, and how much of one is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST_LINE = (
    64 * 2**20
)  # bytes of a JSONL row, characters of a CSV line or cell or of a row in a JSON document
_JSON_KINDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class FileRow:
    """One row as it stands in its file."""

    number: int  # 1-based; of the line (JSONL, CSV: its last one) or of the row (all else)
    place: str  # "line 3" or "row 3"
    fields: Mapping[str, Any]  # JSON values; of a table also bytes. A chosen "a.b" is a key of that name
    unread: frozenset[str] = frozenset()  # columns of its file that were not chosen
    error: str = ""  # why it cannot be read; then there are no fields


@dataclass(frozen=True)
class Column:
    """A column of a file that names its columns before the first row."""

    name: str
    plain: bool  # text, numbers, yes or no; else bytes (pictures), lists, structures
    parts: tuple[str, ...] = ()  # of a structure


Choose = Callable[[Sequence[Column]], Collection[str]]  # the columns to read; may raise ConfigError


def json_kind(value: Any) -> str:
    """What a JSON value is, for messages."""
    if isinstance(value, str):
        return "empty text" if not value else "text"
    return "null" if value is None else _JSON_KINDS.get(type(value), type(value).__name__)


def object_row(value: Any, number: int, place: str) -> FileRow:
    """The row of a JSON value."""
    if isinstance(value, dict):
        return FileRow(number, place, value)
    return FileRow(number, place, {}, error=f"not a JSON object but {json_kind(value)}")
