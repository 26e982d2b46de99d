"""Says every few seconds how far mining is, on stderr for the user and in metrics.jsonl for the report."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from valor_ray.errors import StorageError
from valor_ray.grounding.mine.outcome import COSTS, Kind, Outcome
from valor_ray.runs.progress import Pace, span
from valor_ray.runs.record_file import RecordFile

EVERY_S = 5.0  # between two lines for the user
_TICK_S = 1.0  # between two marks in the metrics, at the start; later as rare as the lines
_START_S = 120.0
_RECENT_S = 30.0  # the time left follows the rate of so long a time


class Progress:
    """Counts the outcomes of one phase as they come; a thread of its own speaks, also while nothing comes."""

    def __init__(
        self,
        items: str,
        todo: int,
        metrics: RecordFile,
        say: Callable[[str], None],
        trouble: Callable[[], str],
        every_s: float = EVERY_S,
    ) -> None:
        """items: "queries" or "pictures". trouble: what keeps the verifier from answering, or ""; asked from the
        thread."""
        self._items, self._metrics, self._say = items, metrics, say
        self._trouble, self._every_s = trouble, every_s
        self._pace = Pace(todo, recent_s=_RECENT_S + every_s)
        self.counts: Counter[str] = Counter()  # by Kind, and "missing"
        self.sums: Counter[str] = Counter()  # of COSTS, canaries' included
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
        if self.counts:
            self._mark()

    def count(self, outcome: Outcome, missing: bool = False) -> None:
        self.counts[outcome.kind] += 1
        self.counts["missing"] += missing
        self._pace.count(outcome.kind is not Kind.CANARY)
        self.sums.update({name: outcome.record.get(name, 0) for name in COSTS})

    def _speak(self) -> None:
        said = marked = 0.0
        while not self._stop.wait(min(_TICK_S, self._every_s)):
            seconds = time.monotonic() - self._start
            if self.counts and (seconds < _START_S or seconds - marked >= self._every_s):
                marked = seconds
                with contextlib.suppress(
                    StorageError
                ):  # the driver's next write meets that disk and ends the run
                    self._mark()
            if seconds - said < self._every_s:
                continue
            said, trouble = seconds, self._trouble()
            if trouble or self.counts:  # until then whoever starts the models speaks
                self._say(self.line() + (f"; {trouble}" if trouble else ""))

    def line(self) -> str:
        """One line for the user."""
        rate, done, todo = self._pace.rate(), self._pace.done, self._pace.todo
        parts = [f"{done}/{todo} {self._items}", f"{rate:.1f}/s"]
        for name, words in (("calls", "calls"), ("cache_hits", "from the cache")):
            parts += [f"{self.sums[name]:.0f} {words}"] if self.sums[name] else []
        for name in ("missing", Kind.FAILED):
            parts += [f"{self.counts[name]} {name}"] if self.counts[name] else []
        parts += [f"{span((todo - done) / rate)} left"] if rate and done < todo else []
        return ", ".join(parts)

    def _mark(self) -> None:
        """Write the metrics of now."""
        mark: dict[str, Any] = {
            "time": round(time.time(), 1),
            "seconds": round(time.monotonic() - self._start, 2),
            "what": self._items,
            "done": self._pace.done,
            "per_s": round(self._pace.rate(), 3),
            "missing": self.counts["missing"],
            "failed": self.counts[Kind.FAILED],
        }
        self._metrics.append(mark | {name: round(self.sums[name], 6) for name in COSTS})
