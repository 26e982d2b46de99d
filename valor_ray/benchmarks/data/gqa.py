"""GQA, GRIT's subset: open questions about photographs; answers are a word, yes or no (GQA CC BY 4.0).

Exact match is a lower bound, since a right answer can be another word: a judge's verdict stands beside it.
"""

from __future__ import annotations

from valor_ray.benchmarks.reading import grit
from valor_ray.benchmarks.reading.fields import Asked, Row
from valor_ray.benchmarks.reading.row_set import RowSet
from valor_ray.benchmarks.reading.source import Part
from valor_ray.benchmarks.truth import Benchmark, Truth, Wording
from valor_ray.measure.answers import typed
from valor_ray.measure.marks import Metric


def ask(row: Row, wording: Wording) -> Asked:
    """The question as it stands, in either wording."""
    answer = row.text("answer")
    yes_no = isinstance(typed(answer), bool)
    truth = Truth(
        answer, "yes_no" if yes_no else "open", metric=Metric.YES_NO if yes_no else Metric.WORD_OR_NUMBER
    )
    return Asked(row.text("question"), truth, **grit.picture(row))


SET = RowSet(
    "gqa",
    "GQA (GRIT)",
    grit.HUB,
    (Part("", r"(^|/)gqa_val\b", "gqa_val.jsonl"),),
    needs=grit.NEEDS,
    also=grit.ALSO,
    ask=ask,
    image_folders=grit.IMAGE_FOLDERS,
)
BENCHMARK = Benchmark(SET.name, SET.title, SET.load, judged=True)
