"""Threads of the driver that call Ray, and how they stop before it does.

A thread that calls Ray after `ray.shutdown()` has it end the process with exit code 1, without a word, or start a
second Ray: Ctrl-C would leave neither its message nor its exit code, and what else was to be cleaned up would stay.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOP_S = 10.0  # for calls under way: the longest of ours takes 2 s on a quiet machine
_LEAVE_S = 1.0  # for a thread that Ray's own code keeps


class RayEnds(Exception):
    """Raised in a thread instead of calling a Ray that ends."""


class RayCalls:
    """Which threads may call Ray, and until when.

    `deployments.serving.running_ray` opens and closes it. Threads of ours call Ray within `call`; closing waits for the
    calls under way, and for those threads that Ray's code keeps.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls = 0
        self._closed = False
        self._kept: list[threading.Thread] = []

    @contextmanager
    def call(self) -> Iterator[None]:
        """For whatever calls Ray, and not for long. Raises RayEnds where Ray ends, or has ended."""
        with self._changed:
            if self._closed:
                raise RayEnds
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def keeps(self, thread: threading.Thread) -> None:
        """A thread that stays within Ray's own code, which has no way to call it back."""
        self._kept = [other for other in self._kept if other.is_alive()] + [thread]

    def open(self) -> None:
        """Ray starts."""
        with self._changed:
            self._closed = False

    def close(self) -> None:
        """Ray is about to end: waits up to 10 s for calls under way; those that come later raise RayEnds."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._calls, _STOP_S)
        for thread in self._kept:
            _leave(thread)
        _end_executors()


ray_calls = RayCalls()


_held: list[FrameType] = []  # for as long as this process lives


def _leave(thread: threading.Thread) -> None:
    """Have a thread end as soon as it executes Python again; one that waits in Ray for its answer does so while Ray
    ends. What its frames refer to stays: to forget a reference to a Ray that is half gone ends the process, too."""
    if thread.ident is not None and thread.is_alive():
        frame = sys._current_frames().get(thread.ident)
        while frame is not None:
            _held.append(frame)
            frame = frame.f_back
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        thread.join(_LEAVE_S)


def _end_executors() -> None:
    """Ray Data's: closing what iterates over its rows waits 2 s for one, a busy machine needs longer; and one that
    nobody closed would do so when Python forgets it, after Ray's end."""
    module = sys.modules.get("ray.data._internal.execution.streaming_executor")
    if module is None:
        return
    until = time.monotonic() + _STOP_S
    known = [each for each in gc.get_objects() if issubclass(type(each), module.StreamingExecutor)]
    for executor in known:  # by type(): isinstance asks proxies, of which some are of what is gone
        executor.shutdown(force=False)
        if executor.is_alive():
            executor.join(max(until - time.monotonic(), 0))
