"""Threads for the pictures of a service, apart from its other work: quick pictures never wait behind costly ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_QUICK_THREADS = (
    8  # more than there are processors: the kernel shares these out, so that the smallest is done first
)
_COSTLY_THREADS = 32  # they wait for the processes of `pool.py`


class Lanes:
    """Run a function in the threads for quick or for costly pictures; waits for its result."""

    def __init__(self) -> None:
        self._quick = ThreadPoolExecutor(_QUICK_THREADS, "picture")
        self._costly = ThreadPoolExecutor(_COSTLY_THREADS, "costly_picture")

    async def quick(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._quick, work)

    async def costly(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._costly, work)


LANES = Lanes()


def _after_fork() -> None:
    """Threads do not survive a fork."""
    global LANES
    LANES = Lanes()


os.register_at_fork(after_in_child=_after_fork)
