"""What is kept of an answer that is measured: the raw result, how it came about, what it took. JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valor_ray import answer
from valor_ray.answer import MALFORMED, REFUSED, status_of
from valor_ray.asking.conduct import failure_of, habits_of
from valor_ray.records import Answer
from valor_ray.selecting import select
from valor_ray.selecting.select import Selected

Kept = dict[str, Any]


@dataclass(frozen=True)
class Replied:
    """What came of asking a question."""

    query_id: str
    kept: Kept | None  # None: nobody replied, or a part has failed, or the picture could not be had
    seconds: float
    why: str = ""  # there is none


def kept(shown: Mapping[str, Any]) -> Kept:
    """Of an answer in its public shape, with its selection and candidates where there are any."""
    record = {
        **_one(shown),
        "well_formed": status_of(shown) not in (MALFORMED, REFUSED),
        "tokens": list(shown.get("tokens") or (0, 0)),  # of prompt and replies; 0: not told
        "tools": _tools(shown),
    }
    if candidates := shown.get("candidates"):
        record["candidates"] = [{**_one(one), "score": one.get("score")} for one in candidates]
        record["selection"] = dict(shown.get("selection") or {})
    return record


def kept_answer(one: Answer) -> Kept:
    return kept(_full(one))


def kept_selected(selected: Selected) -> Kept:
    """With what the public shape leaves out: each candidate's trace and reply tell how it went."""
    shown = select.to_json(selected)
    candidates = [
        {**short, **_full(one.answer)}
        for short, one in zip(shown["candidates"], selected.candidates, strict=True)
    ]
    return kept({**shown, **_full(selected.answer), "candidates": candidates})


def _full(one: Answer) -> dict[str, Any]:
    return {**answer.to_json(one), "reply": one.reply, "tokens": one.tokens}


def _one(shown: Mapping[str, Any]) -> Kept:
    return {
        "answer": shown.get("answer"),
        "error": shown.get("error"),
        "status": status_of(shown),
        "failure": failure_of(shown),
        "habits": list(habits_of(shown)),
    }


def _tools(shown: Mapping[str, Any]) -> int:
    """Calls of tools, of all candidates where they tell."""
    traces = [one.get("trace") for one in shown.get("candidates") or [shown]]
    return sum(len(trace or ()) for trace in traces)
