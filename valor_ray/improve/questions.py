"""Written questions, parted: those that training asks, and those kept apart for the choice of a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.improve.stages import APART, QUESTIONS, TRAINED_ON, WRITTEN, Job, keeps_apart
from valor_ray.queries.apart import normalised
from valor_ray.runs.record_file import read_records, replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_EACH = 8  # one of so many is kept apart


def part_questions(job: Job, config: Config) -> None:
    """Write train.jsonl and signals.jsonl beside queries.jsonl, unless they are there. Raises StorageError."""
    folder = job.folder / QUESTIONS
    if (folder / TRAINED_ON).exists():
        return
    rows = list(read_records(folder / WRITTEN))
    most = config.stopping.questions if keeps_apart(job, config) else 0
    apart = kept_apart(rows, most, folder)
    for name, wanted in ((APART, True), (TRAINED_ON, False)):
        lines = [
            json.dumps(row, ensure_ascii=False) + "\n" for row in rows if (row["query_id"] in apart) is wanted
        ]
        replace_text(folder / name, "".join(lines))


def kept_apart(rows: Sequence[Mapping[str, Any]], most: int, folder: Path) -> set[str]:
    """Ids of the questions that are kept apart: an eighth, at most `most`, in an order made of their ids.

    rows: query_id, question, image (within the folder, or absolute), one a picture. The same question about two copies
    of a picture goes whole to training.
    """
    order = sorted(rows, key=lambda row: hashlib.sha256(row["query_id"].encode()).hexdigest())
    cut = min(most, len(rows) // _EACH)
    trained = {_asked(row, folder) for row in order[cut:]}
    return {row["query_id"] for row in order[:cut] if _asked(row, folder) not in trained}


def _asked(row: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    """What makes two rows one: the words, and the picture's bytes."""
    picture = folder / row["image"]
    with picture.open("rb") as file:
        return normalised(row["question"]), hashlib.file_digest(file, "sha256").hexdigest()
