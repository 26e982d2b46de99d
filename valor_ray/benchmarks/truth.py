"""What is known of a benchmark's questions, and what its data modules hand over. Evaluation only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.measure.marks import Metric
from valor_ray.measure.paper_rules import PaperRule
from valor_ray.records import Query

if TYPE_CHECKING:
    from valor_ray.benchmarks.reading.pictures import Pictures


class Wording(StrEnum):
    """How a question is put. A run has one, and runs of different ones are never compared."""

    CLEAN = "clean"  # ours
    REFERENCE = "reference"  # the exact strings of the paper's released script


@dataclass(frozen=True)
class Truth:
    answer: Any  # JSON value; without `metric` its type chooses one
    family: str
    look: str = ""
    text: str = ""  # "seen" or "unseen" in training; "" where the data does not say
    subset: str = ""  # a split, task or range of the set; "": it has none
    metric: str = Metric.BY_TYPE
    rule: str = PaperRule.NONE
    options: tuple[str, ...] = ()  # as texts, in the order of their letters


@dataclass(frozen=True)
class Request:
    """What is wanted of a benchmark."""

    data: Path | None  # a folder or file of it; None: from the hub, or rendered
    out: Path  # the run folder
    pictures: Pictures
    limit: int | None = None  # only the first questions
    wording: Wording = Wording.CLEAN
    revision: str | None = None  # of the hub set: a commit, tag or branch; None: the newest
    looks: tuple[str, ...] = ()  # of rendered scenes; (): those that the base detector knows


@dataclass(frozen=True)
class Loaded:
    """A benchmark as it is asked. Query.image: a file of this machine, or what Request.pictures can fetch."""

    queries: Sequence[Query]
    truths: Mapping[str, Truth]  # by query_id
    revision: str = ""  # commit of the hub set; "": read from files
    notes: Sequence[str] = field(default_factory=list)  # what was left out or is odd, counted


@dataclass(frozen=True)
class Benchmark:
    """A set by its name."""

    name: str
    title: str
    load: Callable[[Request], Loaded]  # raises ConfigError that begins with the file or folder
    macro: str = "family"  # what the macro mean goes over: "family" or "subset"
    judged: bool = False  # a judge's verdict stands beside the strict mark
