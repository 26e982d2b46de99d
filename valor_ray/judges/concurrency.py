"""How many calls to have in flight: a state machine without clock or I/O (DESIGN §6; the controller is ours).

Slow start doubles the limit once per round of answers while it is in full use; after the first cut it grows by one per
round. A 429 cuts it by half, a failure by a quarter, at most once per round trip, since calls that were already
out when it was cut say nothing new. Retry-After stops new calls until then.
"""

from __future__ import annotations

GROW = 2.0  # slow start: per round
CUT_THROTTLED = 0.5
CUT_FAILED = 0.75
SATURATED = 0.8  # share of the limit in flight from which growth is earned: an unused limit proves nothing
SMOOTHING = 0.1  # weight of the newest latency in the running mean
FIRST_LATENCY_S = 1.0  # of a round trip, before one was seen


class Concurrency:
    """Times are seconds of one monotonic clock, given by the caller."""

    def __init__(self, first: int, most: int) -> None:
        self._limit = float(min(first, most))
        self._most = most
        self._slow_start = True
        self._cut_at = float("-inf")
        self._latency = FIRST_LATENCY_S
        self._answers = 0  # since the start of this round
        self.in_flight = 0
        self.paused_until = float("-inf")

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return max(1, int(self._limit))

    def may_start(self, now: float) -> bool:
        return now >= self.paused_until and self.in_flight < self.limit

    def on_start(self) -> None:
        self.in_flight += 1

    def on_success(self, now: float, latency_s: float) -> None:
        """A call was answered."""
        saturated = self.in_flight >= SATURATED * self.limit
        self._end()
        self._latency += SMOOTHING * (latency_s - self._latency)
        if not saturated:
            return
        self._answers += 1
        if self._slow_start:
            self._limit = min(self._most, self._limit + (GROW - 1))  # one per answer: double per round
        elif self._answers >= self.limit:
            self._limit = min(self._most, self._limit + 1)
            self._answers = 0

    def on_throttled(self, now: float, retry_after_s: float | None = None) -> None:
        """The endpoint said 429."""
        self._end()
        self._cut(now, CUT_THROTTLED)
        if retry_after_s is not None:
            self.paused_until = max(self.paused_until, now + retry_after_s)

    def on_failure(self, now: float) -> None:
        """A 5xx, a time-out or a lost connection."""
        self._end()
        self._cut(now, CUT_FAILED)

    def on_abandoned(self) -> None:
        """A call was given up for reasons of our own: it says nothing about the endpoint."""
        self._end()

    def gauges(self) -> dict[str, float]:
        return {"limit": self.limit, "in_flight": self.in_flight, "latency_s": self._latency}

    def _end(self) -> None:
        self.in_flight -= 1

    def _cut(self, now: float, share: float) -> None:
        if now - self._cut_at < self._latency:
            return
        self._cut_at = now
        self._slow_start = False
        self._answers = 0
        self._limit = max(1.0, self._limit * share)
