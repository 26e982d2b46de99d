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
        "writer_cost_usd": shown.get("cost_usd", 0.0),
    }
    if candidates := shown.get("candidates"):
        record["candidates"] = [{**_one(one), "score": one.get("score")} for one in candidates]
        record["selection"] = dict(shown.get("selection") or {})
    tries = candidates or [shown]
    if any(one.get("attempts") for one in tries):
        record["repairs"] = {
            "calls": sum(len(one.get("attempts") or ()) for one in tries),
            "tokens": [sum((one.get("repair_tokens") or (0, 0))[place] for one in tries) for place in (0, 1)],
            "cost_usd": sum(one.get("repair_cost_usd", 0.0) for one in tries),
        }
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
    first = one.earlier[0] if one.earlier else one
    return {
        **answer.to_json(one),
        "reply": one.reply,
        "tokens": one.tokens,
        "cost_usd": one.cost_usd,
        "repair_tokens": (one.tokens[0] - first.tokens[0], one.tokens[1] - first.tokens[1]),
        "repair_cost_usd": one.cost_usd - first.cost_usd,
    }


def _one(shown: Mapping[str, Any]) -> Kept:
    record = {
        "answer": shown.get("answer"),
        "error": shown.get("error"),
        "status": status_of(shown),
        "failure": failure_of(shown),
        "habits": list(habits_of(shown)),
    }
    if attempts := shown.get("attempts"):
        record["attempts"] = [
            {"status": status_of(one), "failure": failure_of(one), "error": one["error"]} for one in attempts
        ]
    if shown.get("unrepaired"):
        record["unrepaired"] = shown["unrepaired"]
    return record


def _tools(shown: Mapping[str, Any]) -> int:
    """Calls of tools, of all candidates where they tell, and of all attempts."""
    replies = shown.get("candidates") or [shown]
    tries = [one for each in replies for one in (each, *(each.get("attempts") or ()))]
    return sum(len(one.get("trace") or ()) for one in tries)
