"""How many calls to have in flight: a state machine without clock or I/O (DESIGN §6; the controller is ours).

Slow start doubles the limit once per round of answers while it is in full use; after the first cut it grows by a fixed
step per round. A 429 or a failure cuts it at most once per round trip (calls that were out when it was cut say nothing
new), and by as much as their recent share asks for: one 429 among a hundred answers is a hiccup, one in three means
half the calls are too many. From a tenth on, Retry-After stops all new calls, not only the one that was told. Shares
count the calls that are still out as good: bad news comes first, for a refusal takes no time.
"""

from __future__ import annotations

GROW_STEPS = 64  # additive growth is a 64th of the most, per round
CUT_THROTTLED = 0.5  # the most that 429s take away at once
CUT_FAILED = 0.25  # the most that failures take away at once
FULL_CUT_SHARE = 0.3  # recent share of bad endings at which the cut is full
PAUSE_SHARE = 0.1  # recent share of 429 from which Retry-After holds for all
SATURATED = 0.8  # share of the limit in flight from which growth is earned: an unused limit proves nothing
SLOW_START_SHARE = 0.05  # recent share of bad endings that ends slow start; below, it goes on after the cut
FEWEST_RECENT = 33  # endings that "recent" covers; twice the limit when that is more
LATENCY_WEIGHT = 0.1  # of the newest latency in the running mean
FIRST_LATENCY_S = 0.5  # of a round trip, before one was seen


class Concurrency:
    """How many calls may be in flight: as many as the endpoint has lately answered without complaint.

    Called by Admission and by Gateway at the start and the one end of each try. Waits for nothing, and reads no clock:
    times are seconds of one monotonic clock, given by the caller.
    """

    def __init__(self, first: int, most: int) -> None:
        self._limit = float(min(first, most))
        self._most = most
        self._slow_start = True
        self._cut_at = float("-inf")
        self._latency = FIRST_LATENCY_S
        self._answers = 0  # since the start of this round
        self._ended = 0.0  # recent endings, each counting less as more come after it
        self._throttled = 0.0  # those that were 429
        self._failed = 0.0  # those that were failures
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
        self._end(throttled=False, failed=False)
        self._latency += LATENCY_WEIGHT * (latency_s - self._latency)
        if not saturated:
            return
        self._answers += 1
        if self._slow_start:
            self._limit = min(self._most, self._limit + 1)  # one per answer: double per round
        elif self._answers >= self.limit:
            self._limit = min(self._most, self._limit + max(1.0, self._most / GROW_STEPS))
            self._answers = 0

    def on_throttled(self, now: float, retry_after_s: float | None = None) -> None:
        """The endpoint said 429."""
        self._end(throttled=True, failed=False)
        share = self._share(self._throttled)
        self._cut(now, CUT_THROTTLED, share)
        if retry_after_s is not None and share >= PAUSE_SHARE:
            self.paused_until = max(self.paused_until, now + retry_after_s)

    def on_failure(self, now: float) -> None:
        """A 5xx, a time-out or a lost connection."""
        self._end(throttled=False, failed=True)
        self._cut(now, CUT_FAILED, self._share(self._failed))

    def on_abandoned(self) -> None:
        """A call was given up for reasons of our own: it says nothing about the endpoint."""
        self.in_flight -= 1

    def gauges(self) -> dict[str, float]:
        return {"limit": self.limit, "in_flight": self.in_flight, "latency_s": self._latency}

    def _end(self, *, throttled: bool, failed: bool) -> None:
        self.in_flight -= 1
        keep = 1 - 1 / max(FEWEST_RECENT, 2 * self.limit)
        self._ended = keep * self._ended + 1
        self._throttled = keep * self._throttled + throttled
        self._failed = keep * self._failed + failed

    def _share(self, bad: float) -> float:
        return bad / max(self._ended + self.in_flight, FEWEST_RECENT)

    def _cut(self, now: float, most: float, share: float) -> None:
        if share >= SLOW_START_SHARE:
            self._slow_start = False
        if now - self._cut_at < self._latency:
            return
        self._cut_at = now
        self._answers = 0
        self._limit = max(1.0, self._limit * (1 - most * min(1.0, share / FULL_CUT_SHARE)))
