"""Rollouts as cards of the page: question, plan, code, verdicts. All of it is other people's text, which it escapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from valor_ray.program.parse import parse_reply
from valor_ray.records import ParsedReply
from valor_ray.report.kit.templates import as_text, cut
from valor_ray.report.reasoning.rollouts import expected

_TAGS = 120  # characters of a reply around its plan and code that say nothing more


@dataclass(frozen=True)
class KnownVerdict:
    """What a judge had to say of a canary; `judged` is what it said where that is something else."""

    head: str
    right: str  # yes or no
    judged: str = ""  # no or yes; "" where it said the same or nothing


@dataclass(frozen=True)
class Card:
    """One rollout or canary, as cards.html shows it."""

    row: Mapping[str, Any]  # as `browse` keeps them
    name: Any
    text: str  # the whole reply
    reply: ParsedReply
    known: tuple[KnownVerdict, ...]  # of a canary
    facts: tuple[str, ...]  # where it comes from and what became of it

    @property
    def said_more(self) -> bool:
        """Whether there is more to the reply than its plan and its code."""
        return len(self.text) > len(self.reply.plan) + len(self.reply.code) + _TAGS


def card(row: Mapping[str, Any]) -> Card:
    text = as_text(row["reply"])
    return Card(
        row=row,
        name=row["rollout_id"] or row["reply_id"],
        text=text,
        reply=parse_reply(text),
        known=tuple(_known(row)),
        facts=tuple(_facts(row)),
    )


def _known(row: Mapping[str, Any]) -> Iterator[KnownVerdict]:
    for head, right in expected(row).items():
        yes, no = ("yes", "no") if right else ("no", "yes")
        yield KnownVerdict(head.value, yes, "" if row[head.value] in (None, right) else no)


def _facts(row: Mapping[str, Any]) -> Iterator[str]:
    if row["step"] is not None:
        yield f"step {cut(row['step'])}"
    if row["fate"]:
        yield f"fate {cut(row['fate'])}"
    if isinstance(row["advantage"], int | float):
        yield f"advantage {row['advantage']:+.3f}"
    if row["tokens"]:
        yield f"{row['tokens']} tokens"
    if row["finish_reason"]:
        yield f"finished by {cut(row['finish_reason'])}"
    if isinstance(row["versions"], list) and row["versions"]:
        yield "written by " + ", ".join(_version(part) for part in row["versions"])


def _version(part: Any) -> str:
    """("step-000003", 40): a run of tokens by one version of the weights."""
    return cut(f"{part[0]} ({part[1]} tokens)" if isinstance(part, list) and len(part) == 2 else part)
