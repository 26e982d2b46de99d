"""TallyQA, GRIT's subset: how many, in photographs of Visual Genome. Some truths are wrong."""

from __future__ import annotations

from valor_ray.benchmarks.reading import grit
from valor_ray.benchmarks.reading.fields import Asked, Row
from valor_ray.benchmarks.reading.row_set import RowSet
from valor_ray.benchmarks.reading.source import Part
from valor_ray.benchmarks.truth import Benchmark, Truth, Wording
from valor_ray.measure.marks import Metric
from valor_ray.measure.paper_rules import PaperRule


def ask(row: Row, wording: Wording) -> Asked:
    """The question as it stands, in either wording."""
    truth = Truth(count := row.whole("answer"), family(count), metric=Metric.INT, rule=PaperRule.INT_OR_ZERO)
    return Asked(row.text("question"), truth, **grit.picture(row))


def family(count: int) -> str:
    """Where a count is small enough to be seen at a glance, and where it is not."""
    return "up to 5" if count <= 5 else "above 5"


SET = RowSet(
    "tallyqa",
    "TallyQA (GRIT)",
    grit.HUB,
    (Part("", r"(^|/)tallyqa_val\b", "tallyqa_val.jsonl"),),
    needs=grit.NEEDS,
    also=grit.ALSO,
    ask=ask,
    image_folders=grit.IMAGE_FOLDERS,
)
BENCHMARK = Benchmark(SET.name, SET.title, SET.load)
