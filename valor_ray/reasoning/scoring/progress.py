"""How far scoring is, by what became of its replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valor_ray.reasoning.scoring.fate import Fate
from valor_ray.runs.progress import Speaking


class Progress(Speaking):
    """Counts the records of replies as they come."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__("replies", *args, **options)
        self._counts = dict.fromkeys(Fate, 0)
        self.calls = 0  # requests sent to the judge in this run, canaries' included
        self.cache_hits = 0
        self._cost = 0.0

    def count(self, fate: Fate, record: Mapping[str, Any]) -> None:
        self._counts[fate] += 1
        self._pace.count(fate is not Fate.CANARY)
        self.calls += record.get("calls", 0)
        self.cache_hits += record.get("cache_hits", 0)
        self._cost += record.get("cost_usd", 0.0)

    @property
    def cost_usd(self) -> float:
        return round(self._cost, 6)

    def begun(self) -> bool:
        return any(self._counts.values())

    def parts(self) -> list[str]:
        missing, failed = self._counts[Fate.MISSING], self._counts[Fate.FAILED]
        parts = [f"{self.calls} calls"]
        parts += [f"{self.cache_hits} from the cache"] if self.cache_hits else []
        parts += [f"{missing} missing"] if missing else []
        return parts + ([f"{failed} failed"] if failed else [])

    def mark(self) -> dict[str, Any]:
        return {
            "done": self._pace.done,
            "rows_per_s": round(self._pace.rate(), 3),
            "missing": self._counts[Fate.MISSING],
            "failed": self._counts[Fate.FAILED],
            "calls": self.calls,
            "cache_hits": self.cache_hits,
            "cost_usd": self.cost_usd,
        }
