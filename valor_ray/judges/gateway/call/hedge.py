"""When a call has taken so long that a second try is likely to be faster: a window of recent latencies."""

from __future__ import annotations

from collections import deque

_WINDOW = 200
_FEWEST = 20  # latencies before anything is hedged
_QUANTILE = 0.95
_FACTOR = 1.5
_LEAST_S = 0.2  # a faster endpoint needs no hedge
_SHARE = 0.1  # of all calls that may be hedged


class Hedge:
    """After how long a call is worth a second one beside it, so that few are paid for twice.

    Called by Gateway at each call, hedge and answer. Waits for nothing.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._since = 0
        self._after_s: float | None = None
        self._calls = 0
        self._hedged = 0

    def after_s(self) -> float | None:
        """Seconds after which a second try goes out; None: not now."""
        if self._after_s is None or self._hedged > _SHARE * self._calls:
            return None
        return self._after_s

    def on_call(self) -> None:
        self._calls += 1

    def on_hedge(self) -> None:
        self._hedged += 1

    def on_answer(self, latency_s: float) -> None:
        self._recent.append(latency_s)
        self._since += 1
        if len(self._recent) >= _FEWEST and (self._after_s is None or self._since >= _FEWEST):
            self._since = 0
            ordered = sorted(self._recent)
            self._after_s = max(_LEAST_S, _FACTOR * ordered[int(_QUANTILE * (len(ordered) - 1))])
