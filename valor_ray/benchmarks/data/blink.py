"""BLINK, two of its tasks: counting, and where things are to each other (Apache-2.0).

Drawn from TallyQA's and VSR's test rows: not independent of these sets.
"""

from __future__ import annotations

from string import ascii_uppercase

from valor_ray.benchmarks.reading.fields import Asked, LeftOut, Row
from valor_ray.benchmarks.reading.options import told, with_options
from valor_ray.benchmarks.reading.row_set import RowSet
from valor_ray.benchmarks.reading.source import Part
from valor_ray.benchmarks.truth import Benchmark, Truth, Wording
from valor_ray.measure.answers import distinct, typed
from valor_ray.measure.marks import Metric
from valor_ray.measure.paper_rules import PaperRule

_METRICS = {"Counting": Metric.INT, "Spatial_Relation": Metric.YES_NO}  # by task


def ask(row: Row, wording: Wording) -> Asked:
    """Options as texts, without letters, as the paper asks; its script puts the question mark twice."""
    task = str(row.fields.get("sub_task") or row.part).replace(" ", "_")
    if task not in _METRICS:
        raise LeftOut(f"task {task!r} is none of {', '.join(_METRICS)}")
    options, metric = _options(row), _METRICS[task]
    truth = told(row.text("answer"), options)
    kind = typed(truth)
    if isinstance(kind, bool) is not (metric is Metric.YES_NO) or isinstance(kind, str):
        raise ValueError(f"field 'choices': {truth!r} is no answer of task {task}")
    question = row.text("question")
    if wording is Wording.REFERENCE:
        text = with_options(f"{question.rstrip('.')}?", [each.rstrip(".") for each in options], ",")
    else:
        text = with_options(f"{question.rstrip('?. ')}?", options)
    return Asked(
        text,
        Truth(truth, task, subset=task, metric=metric, rule=PaperRule.BLINK, options=options),
        row.fields.get("image_1") or row.fields.get("image"),
        row_id=str(row.fields.get("idx") or ""),
        note="" if distinct(options) else f"equal options {options}",
    )


def _options(row: Row) -> tuple[str, ...]:
    """Of a list, or of columns A to D. Raises ValueError."""
    if row.fields.get("choices") is not None:
        options = row.texts("choices")
    else:
        given = (row.fields.get(letter) for letter in ascii_uppercase[:4])
        options = tuple(str(each) for each in given if each not in (None, ""))
    if len(options) < 2:
        raise row.wrong("choices", "two options or more")
    return options


SET = RowSet(
    "blink",
    "BLINK",
    "BLINK-Benchmark/BLINK",
    tuple(Part(task, rf"{task}.*\bval\b", f"{task}/val*") for task in _METRICS),
    needs=("question", "answer"),
    also=("idx", "sub_task", "image_1", "image", "choices", *ascii_uppercase[:4]),
    ask=ask,
)
BENCHMARK = Benchmark(SET.name, SET.title, SET.load, macro="subset")
