"""The tabletop benchmark: questions about rendered scenes, read from a folder or rendered from the held-out split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.runner import Query, Truth
from valor_ray.errors import ConfigError

SEED = 0  # of the held-out set


def make(folder: Path, questions: int) -> None:
    """Render held-out scenes for at least `questions` questions into the folder, unless it is there already.

    Raises ConfigError when the folder holds fewer questions than asked for.
    """
    from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, write_dataset

    if folder.exists():
        present = len(_rows(folder / "truth.jsonl"))
        if present < questions:
            raise ConfigError(
                f"{folder} holds {present} questions, fewer than {questions}. Ask for no more than these, or choose "
                "another folder."
            )
        return
    partial = folder.with_name(
        folder.name + ".partial"
    )  # renamed when complete: a killed run leaves no half set
    shutil.rmtree(partial, ignore_errors=True)
    write_dataset(partial, -(-questions // QUESTIONS_PER_SCENE), SEED, split="held_out")
    partial.rename(folder)


def load(folder: Path, limit: int | None = None) -> tuple[list[Query], dict[str, Truth]]:
    """The first `limit` questions of a folder (queries.jsonl, truth.jsonl, pictures) and their truths by query_id.

    Raises ConfigError naming the file and what is wrong with it.
    """
    try:
        queries = [
            Query(row["query_id"], folder / row["image"], row["question"])
            for row in _rows(folder / "queries.jsonl")
        ]
        truths = {
            row["query_id"]: Truth(row["answer"], row["family"], row.get("look", ""))
            for row in _rows(folder / "truth.jsonl")
        }
    except KeyError as error:
        raise ConfigError(
            f"A row in {folder} has no field {error}. queries.jsonl needs query_id, image, question; truth.jsonl "
            "needs query_id, answer, family."
        ) from error
    queries = queries[:limit]
    lacking = [query.query_id for query in queries if query.query_id not in truths]
    if lacking or not queries:
        wrong = f"no truth for {lacking[0]!r}" if lacking else "no questions"
        raise ConfigError(f"{folder} has {wrong}: write it with `valor tabletop render --out {folder}`.")
    return queries, truths


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise ConfigError(
            f"Cannot read {path} ({error.strerror}). --data wants a folder written by `valor tabletop render`."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON lines: {error}") from error
