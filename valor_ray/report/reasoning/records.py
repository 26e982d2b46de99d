"""Reads the folder of a training run, finished or not: records as plain rows, whatever a kill has left of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from valor_ray.report.kit.rows import by_step, number, rows_of

SIGNALS = ("score", "agreement", "scenes", "text", "reward", "well_formed", "answered", "kl")
Marks = dict[str, tuple[str, bool]]  # query_id -> family, whether the answer was right


@dataclass(frozen=True)
class TrainRecords:
    """All but the rollouts, which may be hundreds of MB."""

    metrics: list[dict[str, Any]]  # in order of steps; of a step written twice (resume) the later one
    evaluations: list[dict[str, Any]]  # likewise
    first: Marks  # answers of the first evaluation
    best: Marks  # of the most accurate one, of equal ones the latest
    last: Marks  # of the last one; empty while there is only one
    config: dict[str, Any]
    queries: int  # that its steps ask
    controls: dict[str, Any]  # controls.json; empty without
    take: dict[str, Any] | None = (
        None  # the version to take, chosen without labels (take.json); None: none is
    )


def read_train(folder: Path) -> TrainRecords:
    evaluations = by_step(folder / "evaluation.jsonl")
    steps = [row["step"] for row in evaluations]
    best = best_evaluation(evaluations)
    return TrainRecords(
        metrics=by_step(folder / "metrics.jsonl"),
        evaluations=evaluations,
        first=_marks(folder, steps[0]) if steps else {},
        best=_marks(folder, best["step"]) if best else {},
        last=_marks(folder, steps[-1]) if len(steps) > 1 else {},
        config=settings(folder),
        queries=sum(1 for _ in rows_of(folder / "queries.jsonl")),
        controls=_controls(folder),
        take=_take(folder),
    )


def best_evaluation(evaluations: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The most accurate one, of equal ones the latest; None where no accuracy is known."""
    known = [row for row in evaluations if number(row, "accuracy") is not None]
    return max(known, key=lambda row: (row["accuracy"], row["step"]), default=None)


def settings(folder: Path) -> dict[str, Any]:
    """What config.yaml holds; empty when it cannot be read."""
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def _controls(folder: Path) -> dict[str, Any]:
    """What `valor controls` has written; empty when it cannot be read."""
    try:
        held = json.loads((folder / "controls.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def _take(folder: Path) -> dict[str, Any] | None:
    """Whole, or none: a choice without its reasons is none."""
    try:
        take = json.loads((folder / "take.json").read_text(encoding="utf-8"))
        table = [
            {"step": int(row["step"]), **{name: number(row, name) for name in SIGNALS}}
            for row in take["signals"]
        ]
        return {
            "step": int(take["step"]), "why": str(take["why"]), "score": number(take, "score"),
            "by": [str(name) for name in take["by"]], "over_last": take["over_last"],
            "weights": take["weights"] if isinstance(take["weights"], str) else None, "signals": table,
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _marks(folder: Path, step: int) -> Marks:
    """evaluation/step-N/answers.jsonl, N with or without leading zeros; of two rows of a question the last counts."""
    marks: Marks = {}
    for path in sorted((folder / "evaluation").glob("step-*/answers.jsonl")):
        name = re.fullmatch(r"step-(\d+)", path.parent.name)
        if name and int(name[1]) == step:
            for row in rows_of(path):
                if row.get("query_id") is not None:
                    marks[str(row["query_id"])] = (str(row.get("family")), row.get("right") is True)
    return marks
