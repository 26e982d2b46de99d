"""A question with several answers: their mean mark, each of them by itself, and lines of earlier versions."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from valor_ray.benchmarks.figures import report_of
from valor_ray.benchmarks.results.row import AnswerRow, Sample
from valor_ray.benchmarks.truth import Truth
from valor_ray.measure.marks import Metric
from valor_ray.measure.paper_rules import PaperRule
from valor_ray.records import Query

ROW = AnswerRow(
    "q",
    "How many?",
    "count",
    "",
    2,
    None,
    False,
    None,
    False,
    1.0,
    metric="int",
    rule="int_or_zero",
    picture="a.png",
)
SAMPLES = (Sample(2), Sample(3), Sample(None, "malformed"), Sample("2"))


def test_answers_of_their_own_count_by_their_mean() -> None:
    row = replace(ROW, samples=SAMPLES).marked()
    assert (row.mark, row.paper, row.right) == (0.5, 0.5, False)
    assert [single.mark for single in map(AnswerRow.marked, row.singles())] == [1, 0, 0, 1]


def test_of_samples_that_were_chosen_from_the_answer_taken_counts() -> None:
    row = replace(ROW, samples=SAMPLES, select="vote", answer=2).marked()
    assert (row.mark, row.right) == (1, True) and row.answers() == [row]


def test_a_failed_sample_is_no_zero() -> None:
    """The paper's rule takes a missing count for 0."""
    row = replace(ROW, truth=0, samples=(Sample(None, "error"), Sample(0))).marked()
    assert (row.mark, row.paper) == (0.5, 1)


def test_a_line_comes_back_as_it_was_written_and_old_lines_are_read() -> None:
    row = replace(ROW, samples=SAMPLES, select="judge", answer=2, calls=8, cost_usd=0.01).marked()
    assert AnswerRow.from_record(json.loads(json.dumps(asdict(row)))) == row
    old = {
        key: value
        for key, value in asdict(ROW).items()
        if key not in ("samples", "select", "calls", "cost_usd")
    }
    assert AnswerRow.from_record(old) == ROW


def test_report_of_several_answers_counts_questions_and_fails_by_answer() -> None:
    rows = [replace(ROW, query_id=f"q{n}", picture=f"{n // 2}", samples=SAMPLES) for n in range(6)]
    report = report_of("tallyqa", rows, 1.0)
    assert (report.n, report.accuracy, report.samples, report.selection) == (6, 0.5, 4, None)
    assert report.ci[0] <= 0.5 <= report.ci[1]
    assert report.failed == {"malformed": 6} and report.failures == 0
    assert report.rmse == round((1 / 3) ** 0.5, 4)  # of 2, 3 and 2 where 2 is right


def test_a_row_of_a_question_and_its_truth_has_all_of_both() -> None:
    truth = Truth(2, "count", "tiles", "seen", "part", Metric.INT, PaperRule.INT, ("1", "2"))
    row = AnswerRow.of(Query("q", "How many?", "a.png"), truth)
    assert (row.query_id, row.question, row.picture, row.truth) == ("q", "How many?", "a.png", 2)
    told = (row.family, row.look, row.text, row.subset, row.metric, row.rule, row.options)
    assert told == ("count", "tiles", "seen", "part", Metric.INT, PaperRule.INT, ("1", "2"))
    assert (row.answer, row.error, row.unasked, row.right) == (None, None, False, False)
    assert AnswerRow.of(Query("q", "How many?"), truth, answer=2, seconds=1.5).marked().right
