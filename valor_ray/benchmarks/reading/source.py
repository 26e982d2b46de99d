"""Where a set's files are: a folder or file of this machine, or the hub at one commit, which is a folder then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from valor_ray.errors import ConfigError

ROWS = (".parquet", ".jsonl", ".json", ".tsv", ".csv", ".arrow", ".jsonl.gz", ".tsv.gz", ".csv.gz")


@dataclass(frozen=True)
class Part:
    """Files of a set that belong together, in the order of their names."""

    name: str  # the subset; "": the whole set
    pattern: str  # regular expression, found in the path within the folder, case ignored
    fetch: str  # glob of these files on the hub
    optional: bool = False  # the set can be asked without


@dataclass(frozen=True)
class Opened:
    folder: Path  # what names of pictures are relative to
    files: list[tuple[str, Path]]  # name of the part ("" where rows must tell), file
    revision: str  # commit on the hub; "": not from there


def open_set(
    title: str, name: str, hub: str, parts: Sequence[Part], data: Path | None, revision: str | None
) -> Opened:
    """The files of a set. data: a folder or file; None: the hub, where `revision` (None: the newest) is fetched.

    Raises ConfigError when they are not there: what would have to be, and how to get it.
    """
    if data is None:
        folder = _fetched(title, name, hub, parts, revision)
        return Opened(folder, list(_files(title, folder, parts)), folder.name)
    if data.is_file():
        return Opened(data.parent, [("", data)], "")
    if not data.is_dir():
        raise ConfigError(f"{data}: no such file or folder. {_get(hub, name)}")
    return Opened(data, list(_files(title, data, parts)), "")


def _files(title: str, folder: Path, parts: Sequence[Part]) -> Iterator[tuple[str, Path]]:
    present = sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(ROWS)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    chosen = [(part, _matching(part, folder, present)) for part in parts]
    if not any(paths for _, paths in chosen) and len(present) == 1:
        yield "", present[0]
        return
    for part, paths in chosen:
        if not paths and not part.optional:
            there = (
                f"there are {', '.join(str(path.relative_to(folder)) for path in present[:5])}"
                if present
                else "it holds none"
            )
            raise ConfigError(
                f"{folder}: no file of rows ({', '.join(ROWS[:5])}) of {title}"
                f"{f', {part.name}' if part.name else ''}: one whose path matches {part.pattern!r} is looked for, and "
                f"{there}. Name the file itself with --data."
            )
        yield from ((part.name, path) for path in paths)


def _matching(part: Part, folder: Path, present: Sequence[Path]) -> list[Path]:
    pattern = re.compile(part.pattern, re.IGNORECASE)
    return [path for path in present if pattern.search(path.relative_to(folder).as_posix())]


def _fetched(title: str, name: str, hub: str, parts: Sequence[Part], revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(
            snapshot_download(
                hub, repo_type="dataset", revision=revision, allow_patterns=[part.fetch for part in parts]
            )
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")
        at = f" at revision {revision}" if revision else ""
        raise ConfigError(
            f"{title} could not be fetched from the hub ({hub}{at}): {reason}. {_get(hub, name)}"
        ) from error


def _get(hub: str, name: str) -> str:
    return (
        f"Where there is a network: hf download {hub} --repo-type dataset --local-dir DIR, then here: "
        f"valor eval {name} --data DIR."
    )
