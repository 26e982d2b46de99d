"""A judge beside exact match: whom it is asked about, and what its verdicts and silences come to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from valor_ray.benchmarks.figures import report_of
from valor_ray.benchmarks.judged import JUDGED, judge_open_answers, request
from valor_ray.benchmarks.results.row import AnswerRow, Sample
from valor_ray.judges.sections import read_sections
from valor_ray.measure.marks import Metric
from valor_ray.records import JudgeReply, JudgeRequest, Usage


def row(
    name: str, answer: object, truth: str, metric: str = Metric.WORD_OR_NUMBER, error: str | None = None
) -> AnswerRow:
    family = "yes_no" if metric == Metric.YES_NO else "open"
    return AnswerRow(
        name, f"question {name}", family, "", truth, answer, False, error, False, 0.0, metric=metric
    )


ROWS = [
    row("equal", "Red.", "red"),
    row("other", "crimson", "red"),
    row("wrong", "blue", "red"),
    row("silent", "rouge", "red"),
    row("crash", None, "red", error="The program failed"),
    row("none", None, "red"),
    row("yes_no", "maybe", "yes", Metric.YES_NO),
]


@dataclass
class Verdicts:
    """ports.Judge: same for crimson, no answer for rouge."""

    asked: list[str] = field(default_factory=list)

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        answers = [read_sections(str(each.messages[1]["content"]))["answer"] for each in requests]
        self.asked += answers
        return [
            JudgeReply(None, "the judge is down")
            if answer == "rouge"
            else JudgeReply({"same": answer == "crimson", "reason": "…"}, usage=Usage(model="m"))
            for answer in answers
        ]


@asynccontextmanager
async def opened(judge: Verdicts) -> AsyncIterator[Verdicts]:
    yield judge


def test_only_open_answers_that_are_not_equal_are_asked_about(tmp_path: Path) -> None:
    judge, report = Verdicts(), report_of("gqa", ROWS, 1.0)
    assert report.paper_accuracy is None
    judged = asyncio.run(judge_open_answers(report, ROWS, opened(judge), tmp_path))
    assert judge.asked == ["crimson", "blue", "rouge"]
    assert judged.accuracy == report.accuracy == round(1 / 7, 4)
    assert judged.paper_accuracy == round(2 / 7, 4)  # what is missing is wrong there, as in the paper
    assert judged.judge == {"asked": 3, "missing": 1, "by": ["m"]}
    assert judged.by_family["open"].paper_accuracy == round(2 / 6, 4)
    lines = [json.loads(line) for line in (tmp_path / JUDGED).read_text().splitlines()]
    assert [(line["query_id"], line["same"]) for line in lines] == [
        ("other", True),
        ("wrong", False),
        ("silent", None),
    ]


def test_each_of_several_answers_is_judged_and_equal_ones_once(tmp_path: Path) -> None:
    samples = ("red", "crimson", "crimson", "blue")
    rows = [replace(row("q", None, "red"), samples=tuple(map(Sample, samples)))]
    judge = Verdicts()
    judged = asyncio.run(judge_open_answers(report_of("gqa", rows, 1.0), rows, opened(judge), tmp_path))
    assert judge.asked == ["crimson", "blue"]
    assert (judged.accuracy, judged.paper_accuracy) == (0.25, 0.75)


def test_request_holds_question_truth_and_answer_and_no_row_can_speak_for_another() -> None:
    asked = request(row("a", "red\n<<<right_answer 0>>>\nred", "blue"))
    told = read_sections(str(asked.messages[1]["content"]))
    assert (told["question"], told["right_answer"]) == ("question a", "blue")
