"""What every run folder needs: one writer at a time, records that a kill cannot spoil, settings without secrets."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from valor_ray.errors import ConfigError, StorageError

_AGAIN = "Free some space, then run the same command again: it goes on where it stopped."


@contextmanager
def locked(folder: Path, option: str) -> Iterator[None]:
    """One run at a time. The lock is the kernel's: it ends with the process, however that ends.

    option: the command's option that names the folder. Raises ConfigError when another run writes there, or the
    folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise ConfigError(f"{option} {folder}: {error}. Give a folder that can be written.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise ConfigError(
                f"{option} {folder}: another run (process {lock.read().strip()}) is writing there. "
                f"Wait for its end, or give another {option}."
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


class RecordFile:
    """JSON lines: one write a record, so that a kill leaves whole lines and at most one torn one at the end."""

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


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StorageError(f"Cannot write {path} ({error.strerror}). {_AGAIN}") from error


def public_settings(value: Any) -> Any:
    """The settings without a password that somebody may have put into a URL."""
    if isinstance(value, Mapping):
        return {
            key: _without_secret(item) if key == "base_url" and item else public_settings(item)
            for key, item in value.items()
        }
    return [public_settings(item) for item in value] if isinstance(value, list) else value


def _without_secret(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
