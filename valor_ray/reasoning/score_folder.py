"""The folder of `valor score`: its lock, its records, and the settings that they were made with."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from valor_ray.errors import ConfigError, StorageError
from valor_ray.judges.verdicts import prompt_version
from valor_ray.records import JUDGED

if TYPE_CHECKING:
    from valor_ray.config import Config


class ScoreFolder:
    """Paths of one output folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rewards = path / "rewards.jsonl"  # grows; every scored reply once
        self.missing = path / "missing.jsonl"  # of the last run; judged again by the next
        self.failed = path / "failed.jsonl"  # of the last run
        self.audit = path / "audit.jsonl"  # grows: canaries
        self.metrics = path / "metrics.jsonl"  # grows
        self.config = path / "config.yaml"
        self.prompts = path / "prompts.json"  # versions of the judges' prompts
        self.report = path / "report.json"
        self.page = path / "report.html"
        self.scaling = path / "scaling.json"  # written by `valor bench judges --out`
        self.work = path / "work"  # gone when a run has ended well
        self.cache = path / "judge_cache"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time. The lock is the kernel's: it ends with the process, however that ends.

        Raises ConfigError when another run writes here, or the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a+")
        except OSError as error:
            raise ConfigError(f"--out {self.path}: {error}. Give a folder that can be written.") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                lock.seek(0)
                raise ConfigError(
                    f"--out {self.path}: another run (process {lock.read().strip()}) is writing there. "
                    "Wait for its end, or give another --out."
                ) from error
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    def clear_work(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def check_config(self, config: Config) -> None:
        """Raises ConfigError when the rewards there were made with settings that give other rewards."""
        if not self.config.exists() or not self.rewards.exists():
            return
        try:
            before = yaml.safe_load(self.config.read_text(encoding="utf-8"))
            prompts = json.loads(self.prompts.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, ValueError) as error:
            raise ConfigError(
                f"Cannot tell how {self.rewards} was made: {error}. Give another --out."
            ) from error
        old, new = _meaning(before) | prompts, _meaning(config.model_dump(mode="json")) | prompt_versions()
        changed = [f"{key} {old.get(key)} -> {new[key]}" for key in new if old.get(key) != new[key]]
        if changed:
            raise ConfigError(
                f"{self.path} holds rewards made with other settings ({'; '.join(changed)}). Give another --out; "
                f"--set judge.cache_dir={self.cache} re-uses the verdicts."
            )

    def write_config(self, config: Config) -> None:
        text = yaml.safe_dump(_public(config.model_dump(mode="json")), sort_keys=False)
        replace_text(self.prompts, json.dumps(prompt_versions()) + "\n")
        replace_text(self.config, text)


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
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            written = self._file.write(line)
        except OSError as error:
            raise StorageError(f"Cannot write {self._path} ({error.strerror}). {_AGAIN}") from error
        if written != len(line):
            raise StorageError(f"Cannot write {self._path}: the disk is full. {_AGAIN}")

    def close(self) -> None:
        self._file.close()


_AGAIN = "Free some space, then run the same command again: it goes on where it stopped."


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
                    f"{path} line {number} is not a record ({error}). Remove that line: its reply is scored again."
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


def prompt_versions() -> dict[str, str]:
    return {f"prompt of {head.value}": prompt_version(head) for head in JUDGED}


def _meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide what a reward is."""
    judge, reward = config.get("judge") or {}, config.get("reward") or {}
    weights = ("logic", "syntax", "attribute", "spatial", "adherence")
    models = [judge.get("model"), *(other.get("model") for other in judge.get("others") or ())]
    return {
        **{f"reward.{name}": reward.get(name) for name in weights},
        "judge.model": models if len(models) > 1 else models[0],
        "judge.combine": judge.get("combine") if len(models) > 1 else None,
        "judge.noise": judge.get("noise"),
    }


def _public(value: Any) -> Any:
    """The settings without a password that somebody may have put into a URL."""
    if isinstance(value, Mapping):
        return {
            key: _without_secret(item) if key == "base_url" and item else _public(item)
            for key, item in value.items()
        }
    return [_public(item) for item in value] if isinstance(value, list) else value


def _without_secret(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
