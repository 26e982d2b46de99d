"""vLLM's processes end with the process that started them, however that one ends.

vLLM's worker notices the end of its engine, but nothing makes an engine notice the end of its owner: after a kill -9 of
the owner (and of a raylet that would have cleaned up) it lives on, with its memory. So the worker watches for both.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress

import psutil

from valor_ray.config.models import ENGINE_OWNER, engine_owner

_LOOK_S = 1.0


def own_engines() -> None:
    """Engines that this process starts from now on belong to it."""
    os.environ[ENGINE_OWNER] = str(os.getpid())


def end_with_owner() -> None:
    """In a worker of an engine: when the owner has ended, so do the engine and this process within seconds."""
    owner = engine_owner()
    parent = multiprocessing.parent_process()
    if owner is None or parent is None or parent.pid is None:
        return  # an engine inside its owner's own process ends with it
    engine = os.getpid() if parent.pid == owner else parent.pid
    threading.Thread(target=_watch, args=(owner, engine), name="engine-owner", daemon=True).start()


def _watch(owner: int, engine: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(owner)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(_LOOK_S)
    for pid in (engine, os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
