"""Files of records that a kill cannot spoil: one write a record, and what it has torn is cut off by the next start."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError, StorageError

_AGAIN = "Free some space, then run the same command again: it goes on where it stopped."


class RecordFile:
    """JSON lines: one write a record, so that a kill leaves whole lines and at most one torn one at the end.

    Called by the one process that holds the folder's lock; a reader may look at any time.
    Waits for the write, not for the disk: it outlives the process, not the machine.
    """

    def __init__(self, path: Path, *, keep: bool) -> None:
        """keep: go on where an earlier run stopped; else start empty."""
        if keep:
            cut_torn_line(path)
        self._path = path
        self._file = path.open("ab" if keep else "wb", buffering=0)

    def append(self, record: Mapping[str, Any]) -> None:
        """Raises StorageError when the record cannot be written whole."""
        self.append_all([record])

    def append_all(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Records that belong together, in one write. Raises StorageError when they cannot be written whole."""
        lines = b"".join(
            json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n" for record in records
        )
        try:
            written = self._file.write(lines)
        except OSError as error:
            raise StorageError(f"Cannot write {self._path} ({error.strerror}). {_AGAIN}") from error
        if written != len(lines):
            raise StorageError(f"Cannot write {self._path}: the disk is full. {_AGAIN}")

    def close(self) -> None:
        self._file.close()


def cut_torn_line(path: Path) -> None:
    """Remove what follows the last newline: the record that a kill has cut."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        file.truncate(end)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file in order. Raises ConfigError naming a line that is not one."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ConfigError(
                    f"{path} line {number} is not a record ({error}). Remove that line."
                ) from error
            yield record


def keep_records(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Go back: cut the torn line, and write the file anew without the records that are not wanted, if any.

    Memory: all records. Raises ConfigError, StorageError.
    """
    cut_torn_line(path)
    records = list(read_records(path))
    kept = [record for record in records if wanted(record)]
    if len(kept) < len(records):
        replace_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept))


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StorageError(f"Cannot write {path} ({error.strerror}). {_AGAIN}") from error
