"""What a run folder of `valor train grounding` holds, as its page reads it: any part may be missing, torn or odd.

AP and mAP are points, 0..100. An interval is [low, high], 95 %. Every field may be missing or null.

metrics.jsonl     a row an optimizer step: {"step", "loss", "parts": {name: value}, "learning_rate", "grad_norm",
                  "boxes", "seconds", "pictures_per_s"}. Of a step that is there twice the later row counts.
report.json       {"ap50_start", "ap50_end", "gain_ci", "general_map_start", "general_map_end", "published", "minutes",
                  "verdict", "replicas", "resumed_from", "pictures", "held_back", "stages_s": {stage: seconds}}, and
                  perhaps "alarms": [str], "stopped": str
selection.json    {"alpha", "held_back": [{"alpha", "ap50", "map"}, …],
                  "general": {"start": {"map", "pictures"}, "end": {…}},
                  "passed", "words"}; alpha 0 = start weights. "baseline_map" of "general": what the gate compares
                  with, in a further round not its own start's. More that the gate has measured: rows of
                  "general" under their alpha ("0.5"), or "general_map" in the rows of "held_back".
plan.json         {"dataset": folder of the mined set, "mine": run folder of `valor mine` or null, "steps", "images",
                  "boxes", "absent", "hard_negatives", "phrases"}
evaluation.json   tables.py
controls.json     controls.py
examples.jsonl    examples.py
dataset.json of the mined and of the replayed set: mined_set.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from valor_ray.report.kit.rows import by_step, number, rows_of

Record = Mapping[str, Any]


@dataclass(frozen=True)
class FinetuneRecords:
    folder: Path
    report: Record
    steps: list[dict[str, Any]]  # of metrics.jsonl, in order, each once
    resumes: tuple[int, ...]  # the first step of each start but the first
    plan: Record
    selection: Record
    evaluation: Record
    controls: Record
    settings: Record  # `finetune` of config.yaml


def read_finetuning(folder: Path, report: Record) -> FinetuneRecords:
    """Reads the small files and metrics.jsonl, twice; waits for the disk alone. Raises OSError other than for a file
    that is not there."""
    settings = _settings(folder / "config.yaml")
    return FinetuneRecords(
        folder,
        report,
        by_step(folder / "metrics.jsonl"),
        _resumes(folder / "metrics.jsonl", report),
        json_object(folder / "plan.json"),
        json_object(folder / "selection.json"),
        json_object(folder / "evaluation.json"),
        json_object(folder / "controls.json"),
        settings,
    )


def json_object(path: Path) -> dict[str, Any]:
    """What a JSON file holds; {} where none can be read, or no object is in it. A bare list is {"rows": list}."""
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {"rows": held} if isinstance(held, list) else held if isinstance(held, dict) else {}


def part(record: Record, *names: str) -> Record:
    """The object at record[name][name]…; {} where there is none."""
    for name in names:
        value = record.get(name)
        record = value if isinstance(value, Mapping) else {}
    return record


def rows(record: Record, name: str) -> list[Record]:
    """The objects of the list at record[name]."""
    value = record.get(name)
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def interval(record: Record, name: str) -> tuple[float, float] | None:
    """The finite interval at record[name], its lower end first."""
    ends = record.get(name)
    if not isinstance(ends, list) or len(ends) != 2:
        return None
    low, high = (number({"end": end}, "end") for end in ends)
    return None if low is None or high is None else (min(low, high), max(low, high))


def _settings(path: Path) -> Record:
    try:
        return part({"file": yaml.safe_load(path.read_text(encoding="utf-8"))}, "file", "finetune")
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def _resumes(metrics: Path, report: Record) -> tuple[int, ...]:
    """Where a row is of no later step than one before it, and what the report says of the last start."""
    firsts, last = set(), 0
    for row in rows_of(metrics):
        step = row.get("step")
        if isinstance(step, int):
            if step <= last:
                firsts.add(step)
            last = step
    known = number(report, "resumed_from")
    if known and 0 < known < last:
        firsts.add(int(known) + 1)
    return tuple(sorted(firsts))
