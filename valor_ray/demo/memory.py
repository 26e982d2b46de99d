"""Peak memory of this process and everything it started."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psutil

INTERVAL_S = 2.0


class PeakMemory:
    """Samples the process tree while the `with` block lasts; shared pages count once (proportional set size)."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._done.wait(INTERVAL_S):
            self.peak_bytes = max(self.peak_bytes, sum(map(_bytes, [me, *me.children(recursive=True)])))


def _bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended, or is another user's: a sandboxed program
        return 0
