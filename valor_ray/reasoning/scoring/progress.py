"""Says every few seconds how far scoring is, on stderr for the user and in metrics.jsonl for the report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from valor_ray.reasoning.scoring.fate import Fate
from valor_ray.runs.progress import Pace, span
from valor_ray.runs.record_file import RecordFile

EVERY_S = 5.0  # between two lines for the user
_TICK_S = 1.0  # between two marks in the metrics, at the start; later as rare as the lines
_START_S = 120.0
_RECENT_S = 30.0  # the ETA follows the rate of so long a time


class Progress:
    """Counts records as they come; a thread of its own speaks, also while nothing comes."""

    def __init__(
        self,
        todo: int,
        metrics: RecordFile,
        say: Callable[[str], None],
        trouble: Callable[[], str],
        every_s: float = EVERY_S,
    ) -> None:
        """trouble: what keeps the judge from answering, or ""; asked from the thread."""
        self._metrics, self._say, self._trouble, self._every_s = metrics, say, trouble, every_s
        self._pace = Pace(todo, recent_s=_RECENT_S + every_s)
        self._counts = dict.fromkeys(Fate, 0)
        self._calls = self._cache_hits = 0
        self._cost = 0.0
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._speak, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if sum(self._counts.values()):
            self._mark()

    def count(self, fate: Fate, record: Mapping[str, Any]) -> None:
        self._counts[fate] += 1
        self._pace.count(fate is not Fate.CANARY)
        self._calls += record.get("calls", 0)
        self._cache_hits += record.get("cache_hits", 0)
        self._cost += record.get("cost_usd", 0.0)

    @property
    def calls(self) -> int:
        """Requests sent to the judge in this run, canaries' included."""
        return self._calls

    @property
    def cache_hits(self) -> int:
        return self._cache_hits

    @property
    def cost_usd(self) -> float:
        return round(self._cost, 6)

    def _speak(self) -> None:
        said = marked = 0.0
        while not self._stop.wait(min(_TICK_S, self._every_s)):
            seconds = time.monotonic() - self._start
            if seconds < _START_S or seconds - marked >= self._every_s:
                marked, rate = seconds, self._mark()
            if seconds - said < self._every_s:
                continue
            said, trouble = seconds, self._trouble()
            if trouble or sum(self._counts.values()):  # until then whoever starts the judge speaks
                self._say(self.line(rate) + (f"; {trouble}" if trouble else ""))

    def line(self, rate: float) -> str:
        """One line for the user."""
        done, todo = self._pace.done, self._pace.todo
        missing, failed = self._counts[Fate.MISSING], self._counts[Fate.FAILED]
        parts = [f"{done}/{todo} replies", f"{rate:.1f}/s", f"{self._calls} calls"]
        parts += [f"{self._cache_hits} from the cache"] if self._cache_hits else []
        parts += [f"{missing} missing"] if missing else []
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{span((todo - done) / rate)} left"] if rate and done < todo else []
        return ", ".join(parts)

    def _mark(self) -> float:
        """Write the metrics of now; returns replies/s of the last half minute."""
        seconds, rate = time.monotonic() - self._start, self._pace.rate()
        self._metrics.append(
            {
                "time": round(time.time(), 1),
                "seconds": round(seconds, 2),
                "done": self._pace.done,
                "rows_per_s": round(rate, 3),
                "missing": self._counts[Fate.MISSING],
                "failed": self._counts[Fate.FAILED],
                "calls": self._calls,
                "cache_hits": self._cache_hits,
                "cost_usd": self.cost_usd,
            }
        )
        return rate
