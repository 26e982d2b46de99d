"""What repairs brought of several samples: beside what would have been chosen of the first replies."""

from __future__ import annotations

from dataclasses import replace

from valor_ray.benchmarks.results.repairs import mended_of
from valor_ray.benchmarks.results.row import AnswerRow, Sample

FAILED = ({"status": "error", "failure": "program", "error": "NameError"},)
ROW = AnswerRow(
    "q", "?", "count", "", 1, None, False, None, False, 0.0, metric="int", picture="a", repairs=1, repair_calls=1
)  # fmt: skip
RIGHT, WRONG, MENDED = Sample(1), Sample(2), Sample(1, attempts=FAILED)


def test_a_choice_is_made_again_of_the_first_replies() -> None:
    row = replace(ROW, select="vote", answer=1, samples=(WRONG, MENDED, MENDED))
    mended = mended_of([row])
    assert mended is not None and (mended.without, mended.accuracy, mended.gain) == (0, 1, 1)
    assert (mended.replies, mended.failed, mended.repaired, mended.right) == (3, 2, 2, 2)


def test_samples_that_are_answers_of_their_own_count_by_their_mean() -> None:
    still = Sample(None, "error", attempts=FAILED)
    mended = mended_of([replace(ROW, samples=(RIGHT, WRONG, MENDED, still))])
    assert mended is not None and (mended.without, mended.accuracy) == (0.25, 0.5)
    assert (mended.failed, mended.retried, mended.repaired, mended.right) == (2, 2, 1, 1)


def test_questions_that_were_not_asked_are_left_out_and_runs_without_repairs_have_none() -> None:
    assert mended_of([replace(ROW, unasked=True, error="gone")]) is None and mended_of([]) is None
    assert mended_of([replace(ROW, repairs=0, answer=1)]) is None


def test_a_line_comes_back_as_it_was_written() -> None:
    row = replace(ROW, attempts=FAILED, samples=(MENDED,), repair_tokens=(3, 4)).marked()
    assert AnswerRow.from_record(row.record()) == row
