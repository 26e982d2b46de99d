"""The one reader of rows that somebody else has written: JSON, tables and CSV, packed or not, here or behind fsspec.

A row that cannot be read stays a row, with its place and what is wrong with it; a file that breaks off, or is no list
of rows, raises. Memory is bounded however long the file is. What a row must hold, and which of its fields are kept, is
for those who read: queries/sources.py, reasoning/scoring/replies.py and the benchmarks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.errors import ConfigError
from valor_ray.rows.arrow_rows import arrow_rows, parquet_rows
from valor_ray.rows.csv_rows import csv_rows, is_csv
from valor_ray.rows.formats import Format, opened
from valor_ray.rows.json_rows import json_rows
from valor_ray.rows.row import Choose, Column, FileRow

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def read_rows(
    path: Path | str,
    name: str,
    choose: Choose | None = None,
    *,
    files: AbstractFileSystem | None = None,
    needs: str = "Correct the path.",
) -> Iterator[FileRow]:
    """The rows of a file in order, empty lines left out.

    Told by its first bytes: parquet and Arrow tables, gzip, bzip2 and zstd around anything else, a list or one object
    of JSON; by its name CSV; all else is JSON lines. Text is UTF-8, or says by its mark that it is UTF-16 or 32.
    name: how messages call the file. choose: told the columns of a table or CSV file, before the first row; the others
    are not read (default: all are). Rows of JSON have all their fields. files: where `path` lies; None: here.
    needs: what to do when there is no such file. Raises ConfigError at once in that case, and while rows are read when
    the file breaks off, cannot be read, or is of another format, which is named.
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


def _all(columns: Sequence[Column]) -> Collection[str]:
    return [column.name for column in columns]


def _rows(path: str, name: str, choose: Choose, files: AbstractFileSystem | None) -> Iterator[FileRow]:
    with readable(name), open(path, "rb") if files is None else files.open(path, "rb") as raw:
        kind, again = opened(raw, path, name)
        if kind is Format.PARQUET:
            yield from parquet_rows(again(), name, choose)
        elif kind is not Format.TEXT:
            yield from arrow_rows(again(), name, choose, stream=kind is Format.ARROW_STREAM)
        elif is_csv(path):
            yield from csv_rows(again(), path, name, choose)
        else:
            yield from json_rows(again, name)
