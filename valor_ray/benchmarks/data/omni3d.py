"""Omni3D-Bench: sizes, distances, counts and choices in photographs of rooms and streets (CC BY-NC 4.0)."""

from __future__ import annotations

from collections.abc import Sequence

from valor_ray.benchmarks.reading.fields import Asked, Row
from valor_ray.benchmarks.reading.options import braced
from valor_ray.benchmarks.reading.row_set import RowSet
from valor_ray.benchmarks.reading.source import Part
from valor_ray.benchmarks.truth import Benchmark, Truth, Wording
from valor_ray.measure.answers import distinct, normalise, typed
from valor_ray.measure.marks import Metric
from valor_ray.measure.paper_rules import PaperRule
from valor_ray.records import Query

FIRST = 100  # rows that the paper's tables are of; training is on the others
FIRST_ROWS, OTHER_ROWS = "rows 0-99", "rows from 100"
_TYPES = ("int", "float", "str")


def ask(row: Row, wording: Wording) -> Asked:
    """The question as it stands, in either wording. The archive's file names some fields differently."""
    question, kind = row.text("question"), row.fields.get("answer_type")
    if kind not in _TYPES:
        raise row.wrong("answer_type", "int, float or str")
    image = row.fields.get("image") or row.fields.get("image_filename")
    subset = FIRST_ROWS if row.number < FIRST else OTHER_ROWS
    if kind == "int":
        truth = Truth(
            row.whole("answer"), "count", subset=subset, metric=Metric.INT, rule=PaperRule.OMNI3D_INT
        )
        return Asked(question, truth, image)
    if kind == "float":
        truth = Truth(
            row.real("answer"), "number", subset=subset, metric=Metric.MRA, rule=PaperRule.OMNI3D_FLOAT
        )
        return Asked(question, truth, image)
    answer = _text(row)
    if isinstance(typed(answer), bool):
        truth = Truth(
            answer.lower(), "yes_no", subset=subset, metric=Metric.YES_NO, rule=PaperRule.OMNI3D_TEXT
        )
        return Asked(question, truth, image)
    options = braced(question)  # a few have them; most say their options in words
    truth = Truth(
        answer, "choice", subset=subset, metric=Metric.OPTION, rule=PaperRule.OMNI3D_TEXT, options=options
    )
    return Asked(question, truth, image, note=_oddity(answer, options))


def _text(row: Row) -> str:
    value = row.fields.get("answer")
    return ("yes" if value else "no") if isinstance(value, bool) else row.text("answer")


def _oddity(answer: str, options: tuple[str, ...]) -> str:
    if options and not distinct(options):
        return "options that are equal but for case or article are told apart by these"
    if options and normalise(answer) not in map(normalise, options):
        return f"the truth {answer!r} is none of the options {options}"
    return ""


def reserved(queries: Sequence[Query], measured: Sequence[Query]) -> list[Query]:
    """The queries that training must not have: the measured rows, and others about their pictures.

    queries, measured: read from this set by queries.read, so that ids are PICTURE-QUESTION.
    """
    pictures = {_picture(query) for query in measured}
    return [query for query in queries if _picture(query) in pictures]


def _picture(query: Query) -> str:
    return query.query_id.rpartition("-")[0]


SET = RowSet(
    "omni3d",
    "Omni3D-Bench",
    "dmarsili/Omni3D-Bench",
    (Part("", r"(^|/)(train|annotations)\b", "data/train*.parquet"),),
    needs=("question", "answer", "answer_type"),
    also=("image", "image_filename"),
    ask=ask,
)
BENCHMARK = Benchmark(SET.name, SET.title, SET.load)
