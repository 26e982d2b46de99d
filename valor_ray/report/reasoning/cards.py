"""Rollouts as cards of the page: question, plan, code, verdicts. All of it is other people's text, and escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from valor_ray.program.parse import parse_reply
from valor_ray.records import Head
from valor_ray.report.kit.html import text, verdict_list
from valor_ray.report.reasoning.rollouts import expected


def card(row: Mapping[str, Any], part: str) -> str:
    """One rollout or canary, as `browse` keeps them, in a part of the page."""
    value = row["value"]
    reward = "–" if value is None else f"{value:.2f}"
    name = row["rollout_id"] or row["reply_id"] or ""
    return (
        f'<article data-part="{text(part)}" hidden><header><b>{reward}</b><span>{_said(row["question"])}</span>'
        f'<span class="soft">{_said(name)}</span></header><div>{_reply(_plain(row["reply"]))}</div>'
        f"{verdict_list(_judged(row))}<footer>{' · '.join(_facts(row))}</footer></article>"
    )


def _reply(reply: str) -> str:
    """Plan and code; the whole text where it is not well formed, or folded away where there is more to it."""
    parsed = parse_reply(reply)
    if not parsed.well_formed:
        return f"<h3>reply, not well formed</h3><pre>{text(reply)}</pre>"
    shown = f"<h3>plan</h3><pre>{text(parsed.plan)}</pre><h3>code</h3><pre>{text(parsed.code)}</pre>"
    if len(reply) > len(parsed.plan) + len(parsed.code) + 120:
        shown += f"<details><summary>the whole reply</summary><pre>{text(reply)}</pre></details>"
    return shown


def _judged(row: Mapping[str, Any]) -> dict[str, Any]:
    """The verdicts with a text for each reason, whatever is recorded there."""
    reasons = row["reasons"] if isinstance(row["reasons"], Mapping) else {}
    return {
        **row,
        "reasons": {head.value: _plain(reasons[head.value]) for head in Head if head.value in reasons},
    }


def _facts(row: Mapping[str, Any]) -> Iterator[str]:
    """Where it comes from and what became of it, as HTML."""
    if known := expected(row):
        yield "known verdicts: " + ", ".join(
            _verdict(head, value, row[head.value]) for head, value in known.items()
        )
    if row["step"] is not None:
        yield f"step {_said(row['step'])}"
    if row["fate"]:
        yield f"fate {_said(row['fate'])}"
    if isinstance(row["advantage"], int | float):
        yield f"advantage {row['advantage']:+.3f}"
    if row["tokens"]:
        yield f"{row['tokens']} tokens"
    if row["finish_reason"]:
        yield f"finished by {_said(row['finish_reason'])}"
    if isinstance(row["versions"], list) and row["versions"]:
        yield "written by " + ", ".join(_said(_version(part)) for part in row["versions"])


def _verdict(head: Head, known: bool, given: bool | None) -> str:
    words = f"{head.value} {'yes' if known else 'no'}"
    judged = "no" if known else "yes"
    return words if given in (None, known) else f'<span class="badge no">{words}, judged {judged}</span>'


def _version(part: Any) -> str:
    """("step-000003", 40): a run of tokens by one version of the weights."""
    return f"{part[0]} ({part[1]} tokens)" if isinstance(part, list) and len(part) == 2 else _plain(part)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _said(value: Any) -> str:
    return text(_plain(value))
