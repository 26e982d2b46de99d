"""Opens what queries are read from: a file, a folder, a URL or a hub data set. Labels stay behind here (law 8).

A row leaves with what `fields.kept` takes of it. Columns of tables beyond it are not even read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError
from valor_ray.queries.fields import kept, kept_columns
from valor_ray.rows.formats import PACKED
from valor_ray.rows.read import read_rows, readable
from valor_ray.rows.row import Column, FileRow

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

QUERY_FILE = "queries.jsonl"  # of a folder, with its own query ids
QUESTION_FILES = ("questions.csv", "questions.jsonl", "metadata.csv", "metadata.jsonl")  # beside pictures
_SAVED = ("state.json", "dataset_dict.json")  # by Dataset.save_to_disk
_ROWS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab", ".arrow", ".feather")
_HUB_ROWS = 64  # of a hub data set in memory at a time: they may hold pictures
_BESIDE = ("dataset_info.json", "dataset_infos.json")  # what the hub keeps beside rows


@dataclass(frozen=True)
class QueryRow:
    """One row of a source, without the fields that are not kept."""

    place: str  # "line 3"
    fields: Mapping[str, Any]  # of query_id, image_index, question, image
    names: Mapping[str, str] = field(default_factory=dict)  # which field of the row each is from
    ignored: frozenset[str] = frozenset()  # names of the fields that were left behind
    error: str = ""  # why it cannot be read as a row


@dataclass(frozen=True)
class OpenedSource:
    """An opened source: its rows can be gone through once."""

    name: str  # file or data set, for messages
    folder: str | None  # what relative pictures are relative to; None: unknown (hub)
    own_ids: bool  # whether rows must bring their ids; else those without are named after their picture
    rows: Iterator[QueryRow]


def open_source(source: str) -> OpenedSource:
    """Open a file of rows (`read_rows`), a folder (paths or fsspec URLs), or `hf:owner/name[:split]`.

    A folder holds queries.jsonl; or questions.csv, questions.jsonl (or metadata.*, as image folders of the hub) beside
    pictures; or what Dataset.save_to_disk wrote; or files of rows that are parts of one set. A `*` in a path stands
    for any part of a name. Raises ConfigError when there is nothing to read; reading the rows raises it when a file
    breaks off.
    """
    if source.startswith("hf:") and not source.startswith("hf://"):
        return OpenedSource(source, None, True, _hub_rows(source))
    with readable(source):
        import fsspec

        files, path = fsspec.core.url_to_fs(source)
        paths = [path]
        if not files.exists(path):
            paths = sorted(files.glob(path)) if "*" in path else []
            if not paths:
                raise ConfigError(f"{source}: no such file or folder. Correct the path.")
        elif files.isdir(path):
            if any(files.isfile(f"{path.rstrip('/')}/{name}") for name in _SAVED):
                return OpenedSource(source, None, True, _hub_rows(f"hf:{path}"))
            paths = _of_folder(files, path, source)
        name = files.unstrip_protocol(paths[0]).removeprefix("file://")
        folder, _, file_name = name.rpartition("/")
        own_ids = file_name not in QUESTION_FILES
        rows = (
            _file_rows(files, paths[0], name, own_ids) if len(paths) == 1 else _parts(files, paths, own_ids)
        )
        return OpenedSource(name if len(paths) == 1 else source, folder, own_ids, rows)


def _of_folder(files: AbstractFileSystem, folder: str, source: str) -> list[str]:
    """The file of questions in it, or the parts of the one set that it holds."""
    folder = folder.rstrip("/")
    present = [path for name in (QUERY_FILE, *QUESTION_FILES) if files.isfile(path := f"{folder}/{name}")]
    if len(present) > 1:
        raise ConfigError(f"{source}: the folder holds {' and '.join(present)}. Name the file that is meant.")
    found = present or _row_files(files, folder) or _row_files(files, f"{folder}/data")
    if not found:
        raise ConfigError(
            f"{source}: the folder holds none of {QUERY_FILE}, {', '.join(QUESTION_FILES)}. Put such a file beside the "
            "pictures (image, question a row), or have questions written: python -m jobs.write_queries --images "
            f"{source} --out {source.rstrip('/')}/{QUERY_FILE}"
        )
    sets = defaultdict(list)
    for path in found:
        sets[re.sub(r"\d+", "*", PurePosixPath(path).name)].append(path)
    if len(sets) > 1:
        named = ", ".join(sorted(sets)[:5])
        raise ConfigError(
            f"{source}: the folder holds several sets of rows ({named}). Name the file that is meant, or several parts "
            f"of one set with a *, as {source.rstrip('/')}/{max(sets)}"
        )
    return _whole(found, source)


def _row_files(files: AbstractFileSystem, folder: str) -> list[str]:
    if not files.isdir(folder):
        return []
    return sorted(
        path for path in files.ls(folder, detail=False) if _is_row_file(PurePosixPath(path).name.lower())
    )


def _is_row_file(name: str) -> bool:
    bare = next((name.removesuffix(ending) for ending in PACKED if name.endswith(ending)), name)
    return bare.endswith(_ROWS) and name not in _BESIDE


def _whole(paths: list[str], source: str) -> list[str]:
    """Raises ConfigError when their names say that there are more parts (train-00000-of-00003.parquet)."""
    said = re.search(r"-of-(\d+)", PurePosixPath(paths[0]).name)
    if said and int(said[1]) != len(paths):
        raise ConfigError(
            f"{source}: there are {len(paths)} of {int(said[1])} parts ({PurePosixPath(paths[0]).name}, ...). Download "
            "the others, or name the file that is meant."
        )
    return paths


def _parts(files: AbstractFileSystem, paths: Sequence[str], own_ids: bool) -> Iterator[QueryRow]:
    """The rows of several files, one after the other, with their file in their place."""
    for path in paths:
        name = PurePosixPath(path).name
        for row in _file_rows(files, path, files.unstrip_protocol(path).removeprefix("file://"), own_ids):
            yield QueryRow(f"{name} {row.place}", row.fields, row.names, row.ignored, row.error)


def _file_rows(files: AbstractFileSystem, path: str, name: str, own_ids: bool) -> Iterator[QueryRow]:
    for row in read_rows(path, name, lambda columns: kept_columns(columns, name, own_ids), files=files):
        yield _query_row(row, own_ids)


def _query_row(row: FileRow, own_ids: bool) -> QueryRow:
    if row.error:
        return QueryRow(row.place, {}, error=row.error)
    try:
        values, names, ignored = kept(row.fields, own_ids)
    except ValueError as error:
        return QueryRow(row.place, {}, ignored=row.unread, error=str(error))
    return QueryRow(row.place, values, names, row.unread | ignored)


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
        columns = [_hub_column(key, kind) for key, kind in table.features.items()]
        keep = kept_columns(columns, source, True)
        tops = [key if key in table.features else key.partition(".")[0] for key in keep]
        unread = frozenset(table.column_names) - frozenset(tops)
        number = 0
        # as Arrow has them: other columns are not read, and no picture is decoded
        for batch in table.select_columns(tops).with_format("arrow").iter(batch_size=_HUB_ROWS):
            for fields in batch.to_pylist():
                number += 1
                yield _query_row(FileRow(number, f"row {number}", fields, unread), True)


def _hub_column(name: str, kind: Any) -> Column:
    import datasets

    return Column(name, isinstance(kind, datasets.Value), tuple(kind) if isinstance(kind, dict) else ())
