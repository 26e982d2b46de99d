"""What may go on in a run folder: one writer at a time, one kind of run, and one set of the settings that matter."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from valor_ray.config.access import shown_address
from valor_ray.errors import ConfigError
from valor_ray.runs.record_file import replace_text

if TYPE_CHECKING:
    from pydantic import BaseModel

    from valor_ray.config.tree import Config

_KIND = "run.json"  # in every run folder from its first start on: {"kind": RunKind.name}


@dataclass(frozen=True)
class RunKind:
    """A command that makes run folders."""

    name: str  # in run.json
    command: str  # as a user types it
    option: str  # of the command, names the folder
    signs: tuple[str, ...]  # files of its own: by one of them a folder of a version without run.json is known


REASONING = RunKind(
    "reasoning", "valor train reasoning", "--run", ("rollouts.jsonl", "plan.json", "checkpoints")
)
SCORE = RunKind("score", "valor score", "--out", ("rewards.jsonl",))
MINE = RunKind("mine", "valor mine", "--run", ("images.jsonl",))
PROPOSALS = RunKind("proposals", "python -m jobs.propose_boxes", "--out", ("proposals.jsonl",))
GROUNDING = RunKind("grounding", "valor train grounding", "--run", ("selection.json",))
EVAL = RunKind("eval", "valor eval", "--out", ("answers.jsonl",))
IMPROVE = RunKind("improve", "valor improve", "--run", ())
_KINDS = (SCORE, REASONING, MINE, PROPOSALS, GROUNDING, EVAL, IMPROVE)


@contextmanager
def locked(folder: Path, option: str) -> Iterator[None]:
    """One process at a time in a folder, which is made when there is none. Called by every command that goes on where
    it was killed. Waits for nobody: a second process is refused. The lock is the kernel's: it ends with the process,
    however that ends.

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
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                lock.seek(0)
                raise ConfigError(
                    f"{option} {folder}: another run (process {lock.read().strip()}) is writing there. "
                    f"Wait for its end, or give another {option}."
                ) from error
            with _leased(folder, option):
                yield
            return
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def _leased(folder: Path, option: str) -> Iterator[None]:
    """`locked` on a filesystem that knows no flock: by files that are written anew every few seconds."""
    from valor_ray.runs.store.lease import Lease
    from valor_ray.runs.store.objects import ObjectStore

    lease = Lease(ObjectStore(f"file://{folder.resolve() / 'lease'}"))
    lease.take(option, lambda line: print(line, file=sys.stderr, flush=True))
    try:
        yield
    finally:
        lease.give_back()


@contextmanager
def claimed(folder: Path, kind: RunKind) -> Iterator[None]:
    """`locked`, and the folder is of this kind from now on.

    Raises ConfigError as `locked` and `check_kind` do, StorageError.
    """
    with locked(folder, kind.option):
        check_kind(folder, kind)
        if not (folder / _KIND).exists():
            replace_text(folder / _KIND, json.dumps({"kind": kind.name}) + "\n")
        yield


def check_kind(folder: Path, kind: RunKind, option: str | None = None) -> None:
    """Raises ConfigError when the folder is another command's; one that is nobody's yet will do.

    option: that names the folder, where it is not the one that the kind's runs are made with.
    """
    owner = kind_of(folder)
    if owner is not None and owner is not kind:
        option = option or kind.option
        raise ConfigError(
            f"{option} {folder} is a folder of `{owner.command}`, not of `{kind.command}`. Give another {option}."
        )


def kind_of(folder: Path) -> RunKind | None:
    """What made a folder; None when it is no run folder. Folders of versions without run.json are known by what is
    in them.

    Raises ConfigError when run.json cannot be read, or names a kind that this version does not know.
    """
    path = folder / _KIND
    if not path.exists():
        return next((kind for kind in _KINDS if any((folder / sign).exists() for sign in kind.signs)), None)
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"Cannot tell what {folder} is: {path}: {error!r}. Give another folder.") from error
    for kind in _KINDS:
        if kind.name == name:
            return kind
    raise ConfigError(
        f"{folder} was made by a version of valor_ray that knows runs of kind {name!r}. Use that one, or give another "
        "folder."
    )


def save_settings(path: Path, config: Config) -> None:
    """Write all settings, but no password. Raises StorageError."""
    replace_text(path, yaml.safe_dump(public_settings(config.model_dump(mode="json")), sort_keys=False))


def saved_settings(path: Path, option: str, sections: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """What an earlier start has saved; in `sections`, by name, defaults stand for settings that came later.

    option: of the command, names the folder. Raises ConfigError when the file cannot be read.
    """
    try:
        saved = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read {path}: {error}. Give another {option}.") from error
    settings = dict(saved) if isinstance(saved, Mapping) else {}
    for name, section in sections.items():
        given = settings.get(name)
        settings[name] = section().model_dump(mode="json") | (given if isinstance(given, dict) else {})
    return settings


def meaning(settings: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The settings that decide what a run computes: dotted key -> value, None where there is none."""
    return {key: _at(settings, key) for key in keys}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs, for the user: `grpo.kl 0.01 -> 0.5; judge.noise 0.0 -> 0.3`; "" when nothing does."""
    return "; ".join(
        f"{key} {before.get(key)} -> {value}" for key, value in now.items() if before.get(key) != value
    )


def public_settings(value: Any) -> Any:
    """The settings without a password that somebody may have put into a URL."""
    if isinstance(value, Mapping):
        return {
            key: shown_address(item) if key == "base_url" and item else public_settings(item)
            for key, item in value.items()
        }
    return [public_settings(item) for item in value] if isinstance(value, list) else value


def _at(settings: Any, key: str) -> Any:
    for name in key.split("."):
        settings = settings.get(name) if isinstance(settings, Mapping) else None
    return settings
