"""Written questions, parted: those that training asks, and those kept apart for the choice of a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError
from valor_ray.improve.stages import APART, QUESTIONS, TRAINED_ON, WRITTEN, Job, keeps_apart
from valor_ray.queries.apart import normalised
from valor_ray.runs.record_file import read_records, replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_EACH = 8  # one of so many is kept apart


def part_questions(job: Job, config: Config) -> int:
    """Write train.jsonl and signals.jsonl beside queries.jsonl, unless they are there; how many are kept apart.

    Raises ConfigError where a picture is gone, StorageError.
    """
    folder = job.folder / QUESTIONS
    if not (folder / TRAINED_ON).exists():
        _part(job, config, folder)
    return sum(1 for _ in read_records(folder / APART))


def most_apart(job: Job, config: Config, count: int) -> int:
    """Of so many questions, those that may be kept apart."""
    return min(config.stopping.questions, count // _EACH) if keeps_apart(job, config) else 0


def _part(job: Job, config: Config, folder: Path) -> None:
    rows = list(read_records(folder / WRITTEN))
    apart = kept_apart(rows, most_apart(job, config, len(rows)), folder)
    for name, wanted in ((APART, True), (TRAINED_ON, False)):
        lines = [
            json.dumps(row, ensure_ascii=False) + "\n" for row in rows if (row["query_id"] in apart) is wanted
        ]
        replace_text(folder / name, "".join(lines))


def kept_apart(rows: Sequence[Mapping[str, Any]], most: int, folder: Path) -> set[str]:
    """Ids of the questions that are kept apart: at most `most`, in an order made of their ids.

    rows: query_id, question, image (within the folder, or absolute), one a picture. The same question about two copies
    of a picture goes whole to training.
    """
    if not most:
        return set()
    order = sorted(rows, key=lambda row: hashlib.sha256(row["query_id"].encode()).hexdigest())
    trained = {_asked(row, folder) for row in order[most:]}
    return {row["query_id"] for row in order[:most] if _asked(row, folder) not in trained}


def _asked(row: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    """What makes two rows one: the words, and the picture's bytes."""
    picture = folder / row["image"]
    try:
        with picture.open("rb") as file:
            return normalised(row["question"]), hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            f"{picture}: a question was written about that picture, and it cannot be read any more ({error.strerror}). "
            "Put it back; the same command goes on."
        ) from error
