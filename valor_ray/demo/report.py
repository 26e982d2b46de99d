"""The demo's table on the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from valor_ray.demo.questions import IN_FLIGHT, AskedQuestion

WIDTH = 62  # characters of a question


def short(value: Any) -> str:
    """An answer as a person would write it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)


def rows(outcomes: Sequence[AskedQuestion]) -> Iterator[str]:
    """The table, line by line."""
    yield f"{'question':<{WIDTH}}  {'answer':<14} {'truth':<14} {'':<6} {'seconds':>7}"
    for outcome in outcomes:
        text = outcome.question.text
        asked = text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
        answer = "(no answer)" if outcome.reply["error"] else short(outcome.reply["answer"])[:14]
        mark = "right" if outcome.right else "wrong"
        truth = short(outcome.question.truth)[:14]
        yield f"{asked:<{WIDTH}}  {answer:<14} {truth:<14} {mark:<6} {outcome.seconds:>7.2f}"
    yield totals(outcomes)


def totals(outcomes: Sequence[AskedQuestion]) -> str:
    right = sum(outcome.right for outcome in outcomes)
    without = sum(bool(outcome.reply["error"]) for outcome in outcomes)
    median = statistics.median(outcome.seconds for outcome in outcomes)
    return (
        f"{len(outcomes)} questions: {right} right, {len(outcomes) - right} wrong ({without} without an answer); "
        f"median {median:.2f} s each, {IN_FLIGHT} at a time"
    )
