"""The fields of one row of a set, checked as they are asked for: each error names the field."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from valor_ray.benchmarks.truth import Truth
from valor_ray.measure.answers import number, typed


class LeftOut(Exception):
    """A row that is not asked, and why: said once for all rows of one reason, with their number."""


@dataclass(frozen=True)
class Asked:
    """A row as a question."""

    question: str
    truth: Truth
    image: Any  # as the row has it: bytes, {"bytes", "path"}, base64, a file's name, a URL
    row_id: str = ""  # the set's own; "": rows are numbered
    links: tuple[str, ...] = ()  # where the picture can be fetched when no such file is beside the rows
    size: tuple[int, int] | None = None  # width, height in pixels of the right picture
    note: str = ""  # what is odd about the row


@dataclass(frozen=True)
class Row:
    number: int  # 0-based, in the whole set
    part: str  # name of the part that its file is; "": unknown
    fields: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Raises ValueError when it is no text, or empty."""
        value = self.fields.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(name, "text that is not empty")
        return value.strip()

    def whole(self, name: str) -> int:
        """A whole number, or text that spells one. Raises ValueError."""
        value = number(self.fields.get(name))
        if value is None or value != int(value):
            raise self.wrong(name, "a whole number")
        return int(value)

    def real(self, name: str) -> float:
        """Raises ValueError."""
        value = number(self.fields.get(name))
        if value is None:
            raise self.wrong(name, "a number")
        return value

    def yes_no(self, name: str) -> str:
        """ "yes" or "no": of true and false, 1 and 0, and texts that spell one of these. Raises ValueError."""
        value = self.fields.get(name)
        said = typed(value) if isinstance(value, str) else value
        if said not in (0, 1):
            raise self.wrong(name, "yes or no")
        return "yes" if said else "no"

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts or numbers; of a table of text the cell "['a', 'b']". Raises ValueError."""
        value = self.fields.get(name)
        if isinstance(value, str):
            value = _list_in(value)
        if not isinstance(value, list | tuple) or not all(
            isinstance(each, str | int | float) for each in value
        ):
            raise self.wrong(name, "a list of texts")
        return tuple(str(each).strip() for each in value)

    def wrong(self, name: str, must: str) -> ValueError:
        """The error of a field that is not what it must be."""
        value = self.fields.get(name)
        if value is None:
            return ValueError(f"field {name!r} is missing")
        return ValueError(f"field {name!r} must be {must}, not {str(value)[:60]!r}")


def _list_in(cell: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None
