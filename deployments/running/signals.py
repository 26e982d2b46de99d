"""Ctrl-C and SIGTERM while Ray starts and ends: neither may be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait: `timeout` sends it twice, and an interrupted clean-up leaves processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Ctrl-C or SIGTERM, the first of each, waits for the block's end: a Ray that is interrupted while it starts cannot
    be shut down, and crashes the process at its exit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    met = list[int]()
    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def wait(number: int, frame: FrameType | None) -> None:
        met.append(number)
        signal.signal(number, before[number] or signal.SIG_DFL)  # who gives it again wants it now

    try:
        for number in before:
            signal.signal(number, wait)
        yield
    finally:  # Ray has put its own in place
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for each in met:
            signal.raise_signal(each)
