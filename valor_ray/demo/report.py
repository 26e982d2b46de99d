"""The demo's table on the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from valor_ray.demo.questions import IN_FLIGHT, AskedQuestion, DemoTurn

WIDTH = 62  # characters of a question
RESULTS = "docs/results.md"


def short(value: Any) -> str:
    """An answer as a person would write it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)


def mark(outcome: AskedQuestion) -> str:
    return "right" if outcome.right else "wrong"


def rows(turns: Sequence[DemoTurn]) -> Iterator[str]:
    """The table, line by line: an answer a turn, one turn or two."""
    titles = [f"{turn.name or 'answer':<14}" for turn in turns]
    wide = 6 if len(turns) == 1 else 14
    yield f"{'question':<{WIDTH}}  {' '.join(titles)} {'truth':<14} {'':<{wide}} {'seconds':>7}"
    for asked in zip(*(turn.outcomes for turn in turns), strict=True):
        text = asked[0].question.text
        shown = text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
        answers = " ".join(f"{_answer(outcome):<14}" for outcome in asked)
        truth = short(asked[0].question.truth)[:14]
        marks = " → ".join(map(mark, asked))
        seconds = sum(outcome.seconds for outcome in asked)
        yield f"{shown:<{WIDTH}}  {answers} {truth:<14} {marks:<{wide}} {seconds:>7.2f}"
    for turn in turns:
        yield f"{turn.name}: {totals(turn.outcomes)}".removeprefix(": ")


def _answer(outcome: AskedQuestion) -> str:
    return "(no answer)" if outcome.reply["error"] else short(outcome.reply["answer"])[:14]


def totals(outcomes: Sequence[AskedQuestion]) -> str:
    right = sum(outcome.right for outcome in outcomes)
    without = sum(bool(outcome.reply["error"]) for outcome in outcomes)
    median = statistics.median(outcome.seconds for outcome in outcomes)
    return (
        f"{len(outcomes)} questions: {right} right, {len(outcomes) - right} wrong ({without} without an answer); "
        f"median {median:.2f} s each, {IN_FLIGHT} at a time"
    )


def change(before: DemoTurn, after: DemoTurn) -> str:
    """What two turns over the same questions have given."""
    pairs = list(zip(before.outcomes, after.outcomes, strict=True))
    fixed = sum(now.right and not then.right for then, now in pairs)
    broken = sum(then.right and not now.right for then, now in pairs)
    return (
        f"{before.name} → {after.name}: {before.right} → {after.right} of {len(pairs)} right "
        f"({fixed} wrong before and right now, {broken} the other way)"
    )


def worth(temperature: float) -> str:
    """What `change` proves."""
    return (
        f"So few questions, one reply to each at temperature {temperature:g} (the same seeds in both turns), are no "
        f"figure for a report: measured ones, with intervals and controls, are in {RESULTS}."
    )
