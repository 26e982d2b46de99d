"""How far a work of many items is, how fast, and how long it will take: for the line that a user reads."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from valor_ray.errors import StorageError
from valor_ray.runs.record_file import RecordFile

EVERY_S = 5.0  # between two lines for the user
_TICK_S = 1.0  # between two marks in the metrics, at the start; later as rare as the lines
_START_S = 120.0
_RECENT_S = 30.0  # the time left follows the rate of so long a time


class Pace:
    """Counts items of this start as they get ready, and tells the rate, the time left, and when a line is due.

    The rate counts from the first item on: what came before was starting. Called by who does the work; another thread
    may ask for the rate while it counts. Waits for nothing.
    """

    def __init__(self, todo: int, *, recent_s: float | None = None) -> None:
        """todo: items of this start. recent_s: the rate is that of so many seconds before; None: since the first."""
        self.todo, self.done = todo, 0
        self._recent_s = recent_s
        self._marks: deque[tuple[float, int]] = deque()  # (time, items done), oldest first: where rates begin
        self._said = time.monotonic()

    def count(self, items: int = 1) -> None:
        """items: 0 where work begins now, so that the rate need not wait for the first item."""
        self.done += items
        if not self._marks:
            self._marks.append((time.monotonic(), self.done))

    def rate(self) -> float:
        """Items a second; 0 until one has followed the first."""
        if not self._marks:
            return 0.0
        now = time.monotonic()
        if self._recent_s is not None:
            while len(self._marks) > 1 and now - self._marks[0][0] > self._recent_s:
                self._marks.popleft()
            self._marks.append((now, self.done))
        at, done = self._marks[0]
        return (self.done - done) / max(now - at, 1e-3)

    def left_s(self) -> float | None:
        """Seconds until all is done at the present rate; None while there is none."""
        if self.done >= self.todo:
            return 0.0
        rate = self.rate()
        return (self.todo - self.done) / rate if rate else None

    def due(self, every_s: float) -> bool:
        """Whether to say a line now: one in `every_s`, and the last."""
        now = time.monotonic()
        if now - self._said <= every_s and self.done < self.todo:
            return False
        self._said = now
        return True

    def line(self, items: str) -> str:
        """`12/64 replies, 30 s left`"""
        left = self.left_s()
        return f"{self.done}/{self.todo} {items}" + ("" if left is None else f", {span(left)} left")


class Speaking(ABC):
    """While its block lasts, says every few seconds how far a work is, on stderr for the user and in metrics.jsonl.

    A thread of its own speaks, also while nothing comes; the driver of scoring or mining counts what does. Leaving the
    block waits for the thread and writes the last mark. Raises StorageError then, where the disk does not take it.
    """

    def __init__(
        self,
        items: str,
        todo: int,
        metrics: RecordFile,
        say: Callable[[str], None],
        trouble: Callable[[], str],
        every_s: float = EVERY_S,
    ) -> None:
        """items: what is counted ("pictures"). trouble: what keeps the judge from answering, or ""; asked from the
        thread."""
        self._items = items
        self._metrics, self._say, self._trouble, self._every_s = metrics, say, trouble, every_s
        self._pace = Pace(todo, recent_s=_RECENT_S + every_s)
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._speak, name="progress", daemon=True)

    @abstractmethod
    def begun(self) -> bool:
        """Whether anything has come; until then whoever starts the models speaks."""

    @abstractmethod
    def parts(self) -> list[str]:
        """Of the line for the user, between how fast it goes and the time left."""

    @abstractmethod
    def mark(self) -> dict[str, Any]:
        """The figures of now, for the metrics."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self.begun():
            self._mark()

    def line(self) -> str:
        """`12/64 replies, 1.5/s, 40 calls, 30 s left`"""
        rate, done, todo = self._pace.rate(), self._pace.done, self._pace.todo
        left = [f"{span((todo - done) / rate)} left"] if rate and done < todo else []
        return ", ".join([f"{done}/{todo} {self._items}", f"{rate:.1f}/s", *self.parts(), *left])

    def _speak(self) -> None:
        said = marked = 0.0
        while not self._stop.wait(min(_TICK_S, self._every_s)):
            seconds = time.monotonic() - self._start
            if self.begun() and (seconds < _START_S or seconds - marked >= self._every_s):
                marked = seconds
                with contextlib.suppress(
                    StorageError
                ):  # the driver's next write meets that disk and ends the run
                    self._mark()
            if seconds - said < self._every_s:
                continue
            said, trouble = seconds, self._trouble()
            if trouble or self.begun():
                self._say(self.line() + (f"; {trouble}" if trouble else ""))

    def _mark(self) -> None:
        seconds = round(time.monotonic() - self._start, 2)
        self._metrics.append({"time": round(time.time(), 1), "seconds": seconds, **self.mark()})


def span(seconds: float) -> str:
    """A time for the user, in the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
