"""Reads the folder of a training run, finished or not: records as plain rows, whatever a kill has left of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Marks = dict[str, tuple[str, bool]]  # query_id -> family, whether the answer was right


@dataclass(frozen=True)
class TrainRecords:
    """All but the rollouts, which may be hundreds of MB."""

    metrics: list[
        dict[str, Any]
    ]  # one a step, in order of steps; of a step written twice (resume) the later one
    evaluations: list[dict[str, Any]]  # likewise
    first: Marks  # answers of the first evaluation
    last: Marks  # of the last one; empty while there is only one
    config: dict[str, Any]


def read_train(folder: Path) -> TrainRecords:
    evaluations = by_step(folder / "evaluation.jsonl")
    steps = [row["step"] for row in evaluations]
    return TrainRecords(
        metrics=by_step(folder / "metrics.jsonl"),
        evaluations=evaluations,
        first=_marks(folder, steps[0]) if steps else {},
        last=_marks(folder, steps[-1]) if len(steps) > 1 else {},
        config=settings(folder),
    )


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON lines file that may be growing: a line that a kill has torn is passed over."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def by_step(path: Path) -> list[dict[str, Any]]:
    found = {row["step"]: row for row in rows_of(path) if isinstance(row.get("step"), int)}
    return [found[step] for step in sorted(found)]


def number(row: Mapping[str, Any], *names: str) -> float | None:
    """The finite number at row[name][name]…; None where there is none."""
    value: Any = row
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def column(rows: list[dict[str, Any]], *names: str) -> list[tuple[float, float | None]]:
    """(step, number or None) of each row."""
    return [(float(row["step"]), number(row, *names)) for row in rows]


def settings(folder: Path) -> dict[str, Any]:
    """What config.yaml holds; empty when it cannot be read."""
    try:
        found = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _marks(folder: Path, step: int) -> Marks:
    """evaluation/step-N/answers.jsonl, N with or without leading zeros; of two rows of a question the last counts."""
    found: Marks = {}
    for path in sorted((folder / "evaluation").glob("step-*/answers.jsonl")):
        name = re.fullmatch(r"step-(\d+)", path.parent.name)
        if name and int(name[1]) == step:
            for row in rows_of(path):
                if row.get("query_id") is not None:
                    found[str(row["query_id"])] = (str(row.get("family")), row.get("right") is True)
    return found
