"""JSON lines, and documents of JSON: one list of objects, an object with such a list, or objects over several lines."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, BinaryIO

from valor_ray.errors import ConfigError
from valor_ray.rows.row import LONGEST_LINE, FileRow, object_row

ROWS_UNDER = ("data", "rows", "questions", "queries", "examples")  # of an object that holds all rows
_STEP = 2**18  # bytes of a document that are read at a time
_SPACE = " \t\r\n\ufeff"


def json_rows(again: Callable[[], BinaryIO], name: str) -> Iterator[FileRow]:
    """again: gives the file from its beginning. Raises ConfigError with the row where a document breaks off."""
    try:
        document = _document(again)
        head = list(islice(document, 1)) if document is not None else []
    except (ValueError, RecursionError):  # broken from its first row on: looked at line by line
        document = None
    return _line_rows(again()) if document is None else _document_rows(chain(head, document), name)


def _line_rows(file: BinaryIO) -> Iterator[FileRow]:
    for number, line in _lines(file):
        if line is None:
            yield _bad_line(number, f"longer than {LONGEST_LINE >> 20} MiB")
        elif line.strip():
            yield _line_row(line, number)


def _line_row(line: bytes, number: int) -> FileRow:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return _bad_line(number, f"not UTF-8 (byte {error.start + 1})")
    except (ValueError, RecursionError) as error:
        return _bad_line(number, f"not JSON ({error})")
    return object_row(value, number, f"line {number}")


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


def _document(again: Callable[[], BinaryIO]) -> Iterator[Any] | None:
    """The rows of a document; None where lines are meant. Raises ValueError, RecursionError."""
    file = again()
    start = next((line for _, line in _lines(file) if line is None or line.strip()), b"")
    if start is None:  # a long line: a list may be one
        start = again().read(64)
        return _Scan(again()).elements() if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"[" else None
    if start.lstrip().startswith(b"["):
        return _Scan(again()).elements()
    if not start.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(start)
    except (ValueError, RecursionError):
        return _Scan(again()).values()
    listed = _listed(value)
    return (
        iter(listed) if listed and not any(line is None or line.strip() for _, line in _lines(file)) else None
    )


def _document_rows(values: Iterator[Any], name: str) -> Iterator[FileRow]:
    number = 0
    try:
        for head in values:
            held = _listed(head) if isinstance(head, dict) else []
            alone = bool(held) and next(values, None) is None
            values = iter(held) if alone else chain([head], values)
            break
        for number, value in enumerate(values, start=1):
            yield object_row(value, number, f"row {number}")
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{name}, row {number + 1}: not JSON ({error}). Correct it, or write the file again."
        ) from error


def _listed(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an object that holds them all; none of a row."""
    lists = (value[key] for key in ROWS_UNDER if isinstance(value.get(key), list))
    return next((rows for rows in lists if rows and all(isinstance(row, dict) for row in rows)), [])


class _Scan:
    """Reads values of JSON off a file that is never in memory as a whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._text, self._at, self._ended = file, "", 0, False
        self._bytes = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()

    def values(self) -> Iterator[Any]:
        """One after the other, to the end. Raises ValueError, RecursionError."""
        while self._next():
            yield self._value()

    def elements(self) -> Iterator[Any]:
        """Of the list that the file is. Raises ValueError, RecursionError."""
        self._take("[")
        if self._next() == "]":
            self._take("]")
        else:
            yield self._value()
            while self._next() != "]":
                self._take(",")
                yield self._value()
            self._take("]")
        if self._next():
            raise ValueError("there is more after the list")

    def _take(self, char: str) -> None:
        if self._next() != char:
            raise ValueError(f"{char!r} is missing" if self._next() else "the file breaks off")
        self._at += 1

    def _next(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more(_STEP)

    def _value(self) -> Any:
        self._next()
        step = _STEP
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                if self._ended:  # its place is one in what is in memory, and says nothing of the file
                    raise ValueError(error.msg) from error
            if len(self._text) - self._at > LONGEST_LINE:
                raise ValueError(f"broken, or longer than {LONGEST_LINE >> 20} MiB")
            self._more(step)
            step *= 2  # so that a long row is not begun again too often

    def _more(self, size: int) -> None:
        data = self._file.read(size)
        self._ended = not data
        self._text = self._text[self._at :] + self._bytes.decode(data, final=not data)
        self._at = 0
