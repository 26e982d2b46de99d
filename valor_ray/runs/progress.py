"""How far a work of many items is, how fast, and how long it will take: for the line that a user reads."""

from __future__ import annotations

import time
from collections import deque


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


def span(seconds: float) -> str:
    """A time for the user, in the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
