"""Opens what queries are read from: a file, a folder, a URL or a hub data set. Labels stay behind here (law 8).

A row leaves with the fields of KEPT only. Parquet and hub columns beyond them are not even read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError
from valor_ray.runs.rows import Column, read_rows, readable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

ID_FIELDS = ("query_id", "q_index", "index")  # the first that a row has names it
KEPT = frozenset((*ID_FIELDS, "image_index", "question", "image"))
QUERY_FILE = "queries.jsonl"  # of a folder, with its own query ids
QUESTION_FILES = ("questions.csv", "questions.jsonl")  # beside pictures
_LABEL = re.compile(r"(?:answers?|labels?|b?box(?:e?s)?|gt|(?:ground)?truth|targets?|masks?)")


@dataclass(frozen=True)
class QueryRow:
    """One row of a source, without the fields that are not kept."""

    place: str  # "line 3"
    fields: Mapping[str, Any]  # of KEPT
    ignored: frozenset[str] = frozenset()  # names of the fields that were left behind
    error: str = ""  # why it cannot be read as a row


@dataclass(frozen=True)
class OpenedSource:
    """An opened source: its rows can be gone through once."""

    name: str  # file or data set, for messages
    folder: str | None  # what relative pictures are relative to; None: unknown (hub)
    own_ids: bool  # whether rows must bring their ids; else those without are named after their picture
    rows: Iterator[QueryRow]


def is_label(column: str) -> bool:
    """Whether a column's name says that it holds an answer: final_answer, bbox, gt_label, ..."""
    return any(_LABEL.fullmatch(word) for word in re.split(r"[^a-z]+", column.lower()))


def open_source(source: str) -> OpenedSource:
    """Open a JSONL, parquet or CSV file, a folder (paths or fsspec URLs), or `hf:owner/name[:split]`.

    A folder holds queries.jsonl, or questions.csv or questions.jsonl beside pictures. Raises ConfigError when there is
    nothing to read; reading the rows raises it when the file breaks off.
    """
    if source.startswith("hf:") and not source.startswith("hf://"):
        return OpenedSource(source, None, True, _hub_rows(source))
    with readable(source):
        import fsspec

        files, path = fsspec.core.url_to_fs(source)
        if not files.exists(path):
            raise ConfigError(f"{source}: no such file or folder. Correct the path.")
        if files.isdir(path):
            path = _question_file(files, path, source)
        name = files.unstrip_protocol(path).removeprefix("file://")
        folder, _, file_name = name.rpartition("/")
        return OpenedSource(name, folder, file_name not in QUESTION_FILES, _file_rows(files, path, name))


def _question_file(files: AbstractFileSystem, folder: str, source: str) -> str:
    present = [
        path for name in (QUERY_FILE, *QUESTION_FILES) if files.isfile(path := f"{folder.rstrip('/')}/{name}")
    ]
    if not present:
        raise ConfigError(
            f"{source}: the folder holds none of {QUERY_FILE}, {', '.join(QUESTION_FILES)}. Put such a file beside the "
            "pictures (image, question a row), or have questions written: python -m jobs.write_queries --images "
            f"{source} --out {source.rstrip('/')}/{QUERY_FILE}"
        )
    if len(present) > 1:
        raise ConfigError(f"{source}: the folder holds {' and '.join(present)}. Name the file that is meant.")
    return present[0]


def _file_rows(files: AbstractFileSystem, path: str, name: str) -> Iterator[QueryRow]:
    for row in read_rows(path, name, lambda columns: _kept_columns(columns, name), files=files):
        kept = {key: row.fields[key] for key in KEPT & row.fields.keys()}
        yield QueryRow(row.place, kept, row.unread | (row.fields.keys() - KEPT), row.error)


def _hub_rows(source: str) -> Iterator[QueryRow]:
    name, split = source.removeprefix("hf:"), ""
    if not Path(name).exists():
        name, _, split = name.partition(":")
    with readable(source):
        import datasets

        places = [Path(name, split)] if split else [Path(name), Path(name, "train")]
        saved = [place for place in places if (place / "state.json").is_file()]  # by Dataset.save_to_disk
        table = (
            datasets.load_from_disk(saved[0])
            if saved
            else datasets.load_dataset(name, split=split or "train")
        )
        columns = [Column(key, isinstance(kind, datasets.Value)) for key, kind in table.features.items()]
        keep = _kept_columns(columns, source)
        ignored = frozenset(table.column_names) - frozenset(keep)
        for number, row in enumerate(table.select_columns(keep), start=1):  # other columns are not decoded
            yield QueryRow(f"row {number}", row, ignored)


def _kept_columns(columns: Sequence[Column], name: str) -> list[str]:
    """Those of KEPT, without an image column that holds pixels instead of paths."""
    keep = [
        column.name for column in columns if column.name in KEPT and (column.plain or column.name != "image")
    ]
    if "question" not in keep:
        raise ConfigError(f"{name}: there is no column `question`. Rename the one that holds the questions.")
    return keep
