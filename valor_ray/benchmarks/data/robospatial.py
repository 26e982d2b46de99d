"""RoboSpatial-Home: does it fit there, is it in front of that, in photographs of homes (Apache-2.0)."""

from __future__ import annotations

from valor_ray.benchmarks.reading.fields import Asked, LeftOut, Row
from valor_ray.benchmarks.reading.row_set import RowSet
from valor_ray.benchmarks.reading.source import Part
from valor_ray.benchmarks.truth import Benchmark, Truth, Wording
from valor_ray.measure.marks import Metric
from valor_ray.measure.paper_rules import PaperRule

_ASKED = ("compatibility", "configuration")
_POINTS = "context"


def ask(row: Row, wording: Wording) -> Asked:
    """The question as it stands, its own "answer yes or no" included, in either wording."""
    category = row.fields.get("category") or row.part
    if category == _POINTS:
        raise LeftOut(f"{_POINTS} asks for points in the picture, which no program's answer is")
    if category not in _ASKED:
        raise row.wrong("category", f"{', '.join(_ASKED)} or {_POINTS}")
    truth = Truth(
        row.yes_no("answer"), category, subset=category, metric=Metric.YES_NO, rule=PaperRule.YES_ELSE_NO
    )
    image = row.fields.get("img") or row.fields.get("image")
    return Asked(row.text("question"), truth, image)


SET = RowSet(
    "robospatial",
    "RoboSpatial-Home",
    "chanhee-luke/RoboSpatial-Home",
    (
        *(Part(name, rf"\b{name}\b", f"*{name}*") for name in _ASKED),
        Part(_POINTS, rf"\b{_POINTS}\b", f"*{_POINTS}*", optional=True),
    ),
    needs=("question", "answer"),
    also=("category", "img", "image"),
    ask=ask,
)
BENCHMARK = Benchmark(SET.name, SET.title, SET.load, macro="subset")
