"""Says every few seconds how far scoring is, on stderr for the user and in metrics.jsonl for the report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from valor_ray.reasoning.scoring.step import Fate
from valor_ray.runs.folder import RecordFile

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
        self._todo, self._metrics, self._say, self._trouble, self._every_s = (
            todo,
            metrics,
            say,
            trouble,
            every_s,
        )
        self._counts = dict.fromkeys(Fate, 0)
        self._calls = self._cache_hits = 0
        self._cost = 0.0
        self._start = time.monotonic()
        self._marks: list[tuple[float, int]] = [(0.0, 0)]  # (seconds, rows) of the last _RECENT_S
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
        if not sum(self._counts.values()):  # what came before was starting: no part of the rate
            self._marks = [(time.monotonic() - self._start, 0)]
        self._counts[fate] += 1
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

    def _done(self) -> int:
        return sum(self._counts[fate] for fate in (Fate.SCORED, Fate.MISSING, Fate.FAILED))

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
        done, missing, failed = self._done(), self._counts[Fate.MISSING], self._counts[Fate.FAILED]
        parts = [f"{done}/{self._todo} replies", f"{rate:.1f}/s", f"{self._calls} calls"]
        parts += [f"{self._cache_hits} from the cache"] if self._cache_hits else []
        parts += [f"{missing} missing"] if missing else []
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{_span((self._todo - done) / rate)} left"] if rate and done < self._todo else []
        return ", ".join(parts)

    def _mark(self) -> float:
        """Write the metrics of now; returns replies/s of the last half minute."""
        seconds, done = time.monotonic() - self._start, self._done()
        self._marks = [mark for mark in self._marks if seconds - mark[0] <= _RECENT_S + self._every_s]
        before = self._marks[0] if self._marks else (0.0, 0)
        self._marks.append((seconds, done))
        rate = (done - before[1]) / max(seconds - before[0], 1e-3)
        self._metrics.append(
            {
                "time": round(time.time(), 1),
                "seconds": round(seconds, 2),
                "done": done,
                "rows_per_s": round(rate, 3),
                "missing": self._counts[Fate.MISSING],
                "failed": self._counts[Fate.FAILED],
                "calls": self._calls,
                "cache_hits": self._cache_hits,
                "cost_usd": self.cost_usd,
            }
        )
        return rate


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
