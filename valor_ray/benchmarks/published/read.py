"""The published figures of a benchmark, and beside them what was measured by each method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Published:
    method: str
    percent: float
    n: str  # how many questions, and which, in words
    source: str
    same_rows: bool  # the paper's own rows and rules: these may stand in one column


@cache
def published(benchmark: str) -> tuple[Published, ...]:
    """The figures of a benchmark, the paper's own first; () where there are none, as for tabletop and own."""
    data = yaml.safe_load(files(__package__).joinpath("figures.yaml").read_text(encoding="utf-8"))
    sources: Mapping[str, str] = data["sources"]
    found = []
    if benchmark in data["columns"]:
        place = data["columns"].index(benchmark)
        for row in data["rows"]:
            if (percent := row["percent"][place]) is not None:
                source = sources[row["source"]]
                found.append(Published(row["method"], percent, str(data["n"][benchmark]), source, True))
    for row in data["others"]:
        if row["benchmark"] == benchmark:
            found.append(Published(row["method"], row["percent"], row["n"], sources[row["source"]], False))
    return tuple(found)


def by_method(measured: Iterable[tuple[str, float, int]], methods: Iterable[str]) -> list[dict[str, Any]]:
    """Of each method every run's accuracy and n, or that there is none. measured: (method, accuracy, n) of each run."""
    runs = list(measured)
    table: list[dict[str, Any]] = []
    for method in methods:
        mine = [
            {"method": method, "accuracy": accuracy, "n": n} for name, accuracy, n in runs if name == method
        ]
        table += mine or [{"method": method, "accuracy": None, "n": 0}]
    return table
