"""Stops asking an endpoint that is down, and finds out gently when it is back. Pure: the caller gives the time.

Libraries' breakers raise while they are open and let everybody through at the first probe; here work waits, and one
call at a time goes out until one is answered.
"""

from __future__ import annotations

OPENS_AFTER = 6  # failures in a row
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0


class Breaker:
    """Whether the endpoint is thought to be up; while it is not, lets one probe out after each pause.

    Called by Admission before each try and by Gateway after it. Waits for nothing: times are the caller's, in seconds.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._closed_until_probe = float("-inf")
        self._probing = False
        self.open = False

    def allows(self, now: float) -> bool:
        """Whether a call may go out; while open, one probe after each pause."""
        return not self.open or (now >= self._closed_until_probe and not self._probing)

    def next_probe(self) -> float:
        return self._closed_until_probe

    def on_start(self) -> None:
        self._probing = self.open

    def on_answer(self) -> bool:
        """The endpoint answered, be it with 429. Returns whether it was thought to be down."""
        was_open, self.open = self.open, False
        self._failures, self._pause_s, self._probing = 0, FIRST_PAUSE_S, False
        return was_open

    def on_failure(self, now: float) -> bool:
        """A 5xx, a time-out or a lost connection. Returns whether this opened it."""
        self._failures += 1
        if self.open:
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        elif self._failures < OPENS_AFTER:
            return False
        opened, self.open, self._probing = not self.open, True, False
        self._closed_until_probe = now + self._pause_s
        return opened

    def on_abandoned(self) -> None:
        """A probe was given up without an answer: another may go."""
        self._probing = False
