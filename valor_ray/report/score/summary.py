"""What a scored file looks like in all: counts, rates with intervals, the spread of rewards. One pass, flat memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from valor_ray.measure.intervals import wilson
from valor_ray.records import Head
from valor_ray.report.kit.scene_tests import SceneTestRows

BINS = 10  # of the histogram, over 0..1; the last one holds 1 itself
SHOWN = 40  # best, worst and missing replies kept for the page


@dataclass
class HeadCount:
    """Verdicts of one head over the scored and missing replies."""

    yes: int = 0
    no: int = 0
    missing: int = 0
    left_out: int = 0  # of questions that the head does not apply to

    def as_json(self) -> dict[str, Any]:
        given = self.yes + self.no
        low, high = wilson(self.yes, given)
        return {
            "rate": round(self.yes / given, 4) if given else None,
            "ci95": [round(low, 4), round(high, 4)],
            "yes": self.yes,
            "no": self.no,
            "missing": self.missing,
            "left_out": self.left_out,
        }


@dataclass
class Summary:
    """Grows record by record."""

    scored: int = 0
    missing: int = 0
    reward_sum: float = 0.0
    heads: dict[Head, HeadCount] = field(default_factory=lambda: {head: HeadCount() for head in Head})
    histogram: list[int] = field(default_factory=lambda: [0] * BINS)
    best: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)
    worst: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)
    unjudged: list[dict[str, Any]] = field(default_factory=list)
    scene_tests: SceneTestRows = field(default_factory=SceneTestRows)
    calls: int = 0  # over all runs, as the records have it
    cost_usd: float = 0.0

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one reply that was judged, with or without a reward."""
        row = dict(record)
        self.calls += row["calls"]
        self.cost_usd += row["cost_usd"]
        self._count_heads(row)
        self.scene_tests.add(row)
        value = row["value"]
        if value is None:
            self.missing += 1
            if len(self.unjudged) < SHOWN:
                self.unjudged.append(row)
            return
        self.scored += 1
        self.reward_sum += value
        self.histogram[min(int(value * BINS + 1e-9), BINS - 1)] += 1
        _keep(self.best, (value, -self.scored, row))
        _keep(self.worst, (-value, -self.scored, row))

    def _count_heads(self, row: Mapping[str, Any]) -> None:
        """A reply without the format is asked no further head, and nobody a head of weight 0: it has no reason then."""
        for head in Head:
            value, count = row.get(head.value), self.heads[head]
            if value is not None:
                count.yes += value
                count.no += not value
            elif head.value in (row.get("left_out") or ()):
                count.left_out += 1
            elif row[Head.FORMAT.value] and head.value in row["reasons"]:
                count.missing += 1

    @property
    def mean_reward(self) -> float | None:
        return round(self.reward_sum / self.scored, 4) if self.scored else None

    def scenes_json(self) -> dict[str, float | None]:
        """Shares of all judged replies; null where no scenes were asked for. Calls are those of all runs."""
        replies, scenes = self.scored + self.missing, self.heads[Head.SCENES]
        tested = scenes.yes + scenes.no + scenes.missing + scenes.left_out
        return {
            "scenes_left_out": round(scenes.left_out / replies, 4) if tested else None,
            "scenes_missing": round(scenes.missing / replies, 4) if tested else None,
            "judge_calls_per_reply": round(self.calls / replies, 4) if replies else None,
        }

    def heads_json(self) -> dict[str, Any]:
        return {head.value: count.as_json() for head, count in self.heads.items()}


def asked(heads: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Of heads_json those that somebody was asked for; before there is any verdict the paper's six."""
    counted = ("yes", "no", "missing", "left_out")
    given = {name: head for name, head in heads.items() if any(head.get(count) for count in counted)}
    return given or {name: head for name, head in heads.items() if name != Head.SCENES.value}


def best_first(kept: Iterable[tuple[float, int, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for _, _, row in sorted(kept, key=lambda item: item[:2], reverse=True)]


def _keep(heap: list[tuple[float, int, dict[str, Any]]], item: tuple[float, int, dict[str, Any]]) -> None:
    """The SHOWN greatest; of equal ones the earliest. The second number is never equal, so rows are not compared."""
    if len(heap) < SHOWN:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)
