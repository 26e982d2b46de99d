"""Rows of JSON lines as a report reads them: of a run that goes on or was killed, with whatever is in them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


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
    """Its rows in order of their steps; of a step written twice the later row."""
    latest = {row["step"]: row for row in rows_of(path) if isinstance(row.get("step"), int)}
    return [latest[step] for step in sorted(latest)]


def number(row: Mapping[str, Any], *names: str) -> float | None:
    """The finite number at row[name][name]…; None where there is none."""
    value: Any = row
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def column(rows: list[dict[str, Any]], *names: str) -> list[tuple[float, float | None]]:
    """(step, number or None) of each row."""
    return [(float(row["step"]), number(row, *names)) for row in rows]
