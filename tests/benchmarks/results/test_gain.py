"""What choosing brought: beside the same samples taken singly, and of fewer of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from valor_ray.benchmarks.results.gain import choice, gain_of
from valor_ray.benchmarks.results.row import AnswerRow, Sample
from valor_ray.selecting.select import Select


def row(number: int, taken: object, *samples: Sample, select: str = "vote", **more: object) -> AnswerRow:
    """A question of truth 1; two share a picture."""
    made = AnswerRow(
        f"q{number}", "?", "count", "", 1, taken, False, None, False, 0.0,
        metric="int", picture=f"{number // 2}", select=select, samples=samples,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


RIGHT, WRONG, NONE = Sample(1), Sample(2), Sample(None, "error")


def test_gain_is_of_the_same_samples_with_a_paired_interval() -> None:
    rows = [row(n, 1, WRONG, RIGHT, RIGHT, NONE, calls=3, cost_usd=0.5) for n in range(40)]
    rows += [row(n, 2, WRONG, WRONG, WRONG, RIGHT) for n in range(40, 80)]
    gain = gain_of(rows)
    assert gain is not None
    assert (gain.n, gain.samples, gain.single, gain.selected, gain.gain) == (80, 4, 0.375, 0.5, 0.125)
    assert gain.ci[0] < 0.125 < gain.ci[1] and gain.ci[1] - gain.ci[0] < 0.3
    assert (gain.best_possible, gain.calls, gain.cost_usd) == (1.0, 120, 20.0)


def test_fewer_samples_are_the_first_ones() -> None:
    gain = gain_of([row(0, 1, WRONG, RIGHT, RIGHT, RIGHT, NONE)])
    assert gain is not None and gain.by_samples == {1: 0, 2: 0, 4: 1, 5: 1}


def test_questions_that_were_not_asked_are_left_out() -> None:
    gain = gain_of([row(0, 1, RIGHT, RIGHT), row(1, None, unasked=True, error="gone")])
    assert gain is not None and gain.n == 1


def test_nothing_was_chosen_where_each_sample_is_an_answer() -> None:
    assert gain_of([row(0, None, RIGHT, WRONG, select="")]) is None and gain_of([]) is None


@pytest.mark.parametrize(
    ("samples", "select", "taken"),
    [
        ((WRONG, RIGHT, RIGHT), Select.VOTE, 1),
        ((WRONG, RIGHT), Select.VOTE, 0),
        ((NONE, NONE, RIGHT), Select.VOTE, 2),
        ((replace(RIGHT, score=0.2), replace(WRONG, score=0.9)), Select.JUDGE, 1),
        ((replace(RIGHT, score=0.0), WRONG), Select.SCENES, 0),
        ((Sample(None, "timeout", 1.0), replace(WRONG, score=0.1)), Select.JUDGE, 1),
    ],
)
def test_choice_is_that_of_the_inference_step(
    samples: tuple[Sample, ...], select: Select, taken: int
) -> None:
    assert choice(samples, select) == taken
