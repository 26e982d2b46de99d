"""CSV and its kin: commas, semicolons, tabs or bars between the cells, names in the first line."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from valor_ray.errors import ConfigError
from valor_ray.rows.formats import CSV_NAMES, TAB_NAMES, suffix_of
from valor_ray.rows.row import LONGEST_LINE, Choose, Column, FileRow

_BETWEEN = ",;\t|"


def is_csv(path: str) -> bool:
    """By its name, without what says that it is packed."""
    return suffix_of(path) in CSV_NAMES


def csv_rows(file: BinaryIO, path: str, name: str, choose: Choose) -> Iterator[FileRow]:
    """Raises ConfigError with the line where the file is not UTF-8 or not CSV, or a chosen column is there twice."""
    csv.field_size_limit(LONGEST_LINE)  # of the process; Python's 128 KiB cut off pictures
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    line = 0
    try:
        first = text.readline(LONGEST_LINE)
        if first.lower().startswith("sep=") and len(first.strip()) == 5:  # as Excel writes it
            between, head = first[4], text.readline(LONGEST_LINE)
        else:
            between, head = _between(first, path), first
        table = csv.DictReader(_lines(text, head), strict=True, delimiter=between)
        columns = [column.strip() for column in table.fieldnames or ()]
        table.fieldnames = columns
        chosen = list(choose([Column(column, True) for column in columns]))
        if twice := [column for column, count in Counter(columns).items() if count > 1 and column in chosen]:
            raise ConfigError(
                f"{name}: there are several columns {twice[0]!r}. Rename or remove all but one."
            )
        unread = frozenset(columns) - frozenset(chosen)
        skipped = int(head is not first)
        for row in table:
            line = table.line_num + skipped
            if row.pop(None, None) is not None:  # csv's key for what is too much
                wrong = "more values than columns: put text that holds commas into quotes"
                yield FileRow(line, f"line {line}", {}, error=wrong)
            else:
                yield FileRow(line, f"line {line}", {key: row[key] for key in chosen}, unread)
    except UnicodeDecodeError as error:
        where = f", after line {line}" if line else ""
        raise ConfigError(
            f"{name}{where}: not UTF-8 ({error.reason}). Save it as UTF-8 (in Excel: CSV UTF-8)."
        ) from error
    except csv.Error as error:
        raise ConfigError(
            f"{name}, after line {max(line, 1)}: not CSV ({error}). Put text that holds quotes or line breaks into "
            "quotes, with quotes in it doubled."
        ) from error
    finally:
        text.detach()


def _between(head: str, path: str) -> str:
    """What parts the cells: a tab by the file's name, else what is most in the first line; a comma before others."""
    if suffix_of(path) in TAB_NAMES:
        return "\t"
    return max(_BETWEEN, key=head.count)  # the first of equals


def _lines(text: io.TextIOWrapper, head: str) -> Iterator[str]:
    line = head
    while line:
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"a line is longer than {LONGEST_LINE >> 20} MiB")
        yield line
        line = text.readline(LONGEST_LINE)
