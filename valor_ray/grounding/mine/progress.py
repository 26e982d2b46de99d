"""How far mining is, by its outcomes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from valor_ray.grounding.mine.outcome import COSTS, Kind, Outcome
from valor_ray.runs.progress import Speaking


class Progress(Speaking):
    """Counts the outcomes of one phase ("queries", "pictures") as they come."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.counts: Counter[str] = Counter()  # by Kind, and "missing"
        self.sums: Counter[str] = Counter()  # of COSTS, canaries' included

    def count(self, outcome: Outcome, missing: bool = False) -> None:
        self.counts[outcome.kind] += 1
        self.counts["missing"] += missing
        self._pace.count(outcome.kind is not Kind.CANARY)
        self.sums.update({name: outcome.record.get(name, 0) for name in COSTS})

    def begun(self) -> bool:
        return bool(self.counts)

    def parts(self) -> list[str]:
        words = (("calls", "calls"), ("cache_hits", "from the cache"))
        sums = [f"{self.sums[name]:.0f} {word}" for name, word in words if self.sums[name]]
        return sums + [
            f"{self.counts[name]} {name}" for name in ("missing", Kind.FAILED) if self.counts[name]
        ]

    def mark(self) -> dict[str, Any]:
        figures = {
            "what": self._items,
            "done": self._pace.done,
            "per_s": round(self._pace.rate(), 3),
            "missing": self.counts["missing"],
            "failed": self.counts[Kind.FAILED],
        }
        return figures | {name: round(self.sums[name], 6) for name in COSTS}
