"""The audit: replies with known verdicts, slipped in among the others, tell whether the judges can be trusted."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.measure.intervals import wilson
from valor_ray.records import Head
from valor_ray.runs.record_file import read_records

if TYPE_CHECKING:
    from valor_ray.config.judging import RewardConfig

_FEWEST = 20  # verdicts before an alarm is raised


@dataclass(frozen=True)
class Canary:
    canary_id: str
    kind: str  # "good", or the flaw or hack that it carries
    question: str
    reply: str
    expected: Mapping[Head, bool]  # only the heads whose verdict is beyond doubt


@cache
def canaries() -> tuple[Canary, ...]:
    """The canaries that ship with the package, good ones and bad ones in turn."""
    text = files("valor_ray.judges").joinpath("canaries.jsonl").read_text(encoding="utf-8")
    shipped = []
    for line in text.splitlines():
        row = json.loads(line)
        expected = {Head(head): value for head, value in row["expected"].items() if value is not None}
        shipped.append(Canary(row["canary_id"], row["kind"], row["question"], row["reply"], expected))
    return tuple(shipped)


def canaries_after(done: Path) -> Iterator[Canary]:
    """Canaries without end, going on after those that an earlier run recorded in `done`.

    The steps between them mix the kinds: step and number of canaries have no common factor.
    """
    known = canaries()
    step = next(step for step in (19, 17, 13, 11, 7, 1) if math.gcd(step, len(known)) == 1)
    at = step * sum(1 for _ in read_records(done))
    while True:
        yield known[at % len(known)]
        at += step


class Audit:
    """Agreement with the canaries, by head and by kind. A missing verdict is no disagreement; it is counted apart.

    A head of weight 0 is asked by nobody and stands nowhere here.
    """

    def __init__(self, config: RewardConfig) -> None:
        self._alarm_below = config.audit_alarm
        self._asked = {Head.FORMAT, *config.weights()}
        self._heads: dict[str, AuditCounts] = defaultdict(AuditCounts)
        self._kinds: dict[str, AuditCounts] = defaultdict(AuditCounts)
        self._alarmed: dict[str, str] = {}  # head -> message

    def add(self, record: Mapping[str, Any]) -> str:
        """Mark a canary's record (score_row's). Returns an alarm when one goes off now, else ""."""
        canary = next((known for known in canaries() if known.canary_id == record["canary"]), None)
        if canary is None:
            return ""  # recorded by an earlier version, which had other canaries
        for head, expected in canary.expected.items():
            if head not in self._asked or head.value in (record.get("left_out") or ()):
                continue  # the head does not count, or does not apply to the canary's question
            if head is not Head.FORMAT and not record.get(Head.FORMAT):
                continue  # judged by nobody
            verdict = record.get(head.value)
            for counts in (self._heads[head.value], self._kinds[canary.kind]):
                counts.asked += verdict is not None
                counts.agreed += verdict is expected
                counts.missing += verdict is None
        new = {head: text for head, text in self._alarms().items() if head not in self._alarmed}
        self._alarmed |= new
        return " ".join(new.values())

    def report(self) -> dict[str, Any]:
        """{heads: {name: {asked, agreed, missing, ci}}, kinds: {the same}, alarm}"""
        return {
            "heads": {name: counts.report() for name, counts in sorted(self._heads.items())},
            "kinds": {name: counts.report() for name, counts in sorted(self._kinds.items())},
            "alarm": " ".join(self._alarms().values()),
        }

    def _alarms(self) -> dict[str, str]:
        """The heads that surely agree too rarely: even the upper end of the interval is below the threshold."""
        raised = {}
        for head, counts in self._heads.items():
            upper = wilson(counts.agreed, counts.asked)[1] if counts.asked >= _FEWEST else 1.0
            if upper < self._alarm_below:
                raised[head] = (
                    f"The {head} judge agrees with {counts.agreed} of {counts.asked} canaries (at most {upper:.0%} "
                    "with 95 % confidence): its verdicts are no basis for training. Try another judge.model."
                )
        return raised


@dataclass
class AuditCounts:
    """How often a judge agreed with canaries; a missing verdict is no disagreement."""

    asked: int = 0
    agreed: int = 0
    missing: int = 0

    def report(self) -> dict[str, Any]:
        low, high = wilson(self.agreed, self.asked)
        return {
            "asked": self.asked,
            "agreed": self.agreed,
            "missing": self.missing,
            "ci": [round(low, 4), round(high, 4)],
        }
