"""CountBenchQA: how many, from two to ten. The caption of a row states the answer: it is never read."""

from __future__ import annotations

from valor_ray.benchmarks.data.tallyqa import family
from valor_ray.benchmarks.reading.fields import Asked, Row
from valor_ray.benchmarks.reading.row_set import RowSet
from valor_ray.benchmarks.reading.source import Part
from valor_ray.benchmarks.truth import Benchmark, Truth, Wording
from valor_ray.measure.marks import Metric
from valor_ray.measure.paper_rules import PaperRule


def ask(row: Row, wording: Wording) -> Asked:
    """The question alone, in either wording."""
    count = row.whole("number")
    truth = Truth(count, family(count), metric=Metric.INT, rule=PaperRule.INT)
    return Asked(row.text("question"), truth, row.fields.get("image"))


SET = RowSet(
    "countbenchqa",
    "CountBenchQA",
    "vikhyatk/CountBenchQA",
    (Part("", r"\btest\b", "*test*"),),
    needs=("image", "question", "number"),
    ask=ask,
)
BENCHMARK = Benchmark(SET.name, SET.title, SET.load)
