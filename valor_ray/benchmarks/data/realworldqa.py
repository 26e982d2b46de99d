"""RealWorldQA: photographs from cars and of streets, with lettered options or an open answer (CC BY-ND 4.0)."""

from __future__ import annotations

import re

from valor_ray.benchmarks.reading.fields import Asked, Row
from valor_ray.benchmarks.reading.options import option_lines, told, with_options
from valor_ray.benchmarks.reading.row_set import RowSet
from valor_ray.benchmarks.reading.source import Part
from valor_ray.benchmarks.truth import Benchmark, Truth, Wording
from valor_ray.measure.answers import distinct
from valor_ray.measure.marks import Metric
from valor_ray.measure.paper_rules import PaperRule

_INSTRUCTION = re.compile(r"^\s*Please answer\b", re.IGNORECASE | re.MULTILINE)


def ask(row: Row, wording: Wording) -> Asked:
    """Options as texts, without letters and without the line that asks for one. Open questions stand as they are.

    Three rows of the set lack a dot after a letter: there the paper's script loses that option, or ends.
    """
    text, image = row.text("question"), row.fields.get("image")
    found = option_lines(_INSTRUCTION.split(text)[0])
    if found is None:
        truth = Truth(_plain(row), "open", metric=Metric.WORD_OR_NUMBER, rule=PaperRule.PART_OF_TRUTH)
        return Asked(text, truth, image)
    stem, options = found
    options = tuple(each.rstrip(".") for each in options)
    answer = told(_plain(row), options)
    if wording is Wording.REFERENCE:
        end = "?" if "?" in stem else "."
        question = with_options(f"{stem.rstrip('?.! ')}{end}", options, ",")
    else:
        question = with_options(stem, options)
    return Asked(
        question,
        Truth(answer, "choice", metric=Metric.OPTION, rule=PaperRule.PART_OF_TRUTH, options=options),
        image,
        note="" if distinct(options) else f"options that are equal but for case or article: {options}",
    )


def _plain(row: Row) -> str:
    """The answer as text. Raises ValueError."""
    value = row.fields.get("answer")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return row.text("answer")


SET = RowSet(
    "realworldqa",
    "RealWorldQA",
    "nirajandhakal/realworldqa",
    (Part("", r"\btest\b", "*test*"),),
    needs=("question", "answer", "image"),
    ask=ask,
)
BENCHMARK = Benchmark(SET.name, SET.title, SET.load)
