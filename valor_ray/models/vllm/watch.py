"""Tells an engine that hangs from one that works slowly: by progress, of whatever kind, while there is work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class Watch:
    """Notices work that does not go on: what `working` encloses, `answered`, and the tokens of unfinished requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock  # seconds
        self._in_work = 0
        self._moved = False  # something was answered since the last look
        self._tokens: Mapping[str, int] = {}
        self._since = clock()  # when work was last seen to go on

    @contextmanager
    def working(self) -> Iterator[None]:
        if not self._in_work:
            self._since = self._clock()
        self._in_work += 1
        try:
            yield
        finally:
            self._in_work -= 1

    def answered(self) -> None:
        self._moved = True

    def idle_s(self, tokens: Mapping[str, int]) -> float:
        """Seconds for which there has been work and no progress. tokens: written so far, of each request in work."""
        moved = any(count > self._tokens.get(name, 0) for name, count in tokens.items())
        if moved or self._moved or not self._in_work:
            self._since = self._clock()
        self._moved, self._tokens = False, dict(tokens)
        return self._clock() - self._since
