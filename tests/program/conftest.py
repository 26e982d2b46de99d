"""What the tests of the sandbox look at from outside: its processes."""

import sys
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest


def _sandbox_processes(driver: psutil.Process) -> dict[int, psutil.Process]:
    """Zygotes and what they forked, below one driver; not those of an app that the session has started."""
    processes: dict[int, psutil.Process] = {}
    for child in driver.children():
        below: list[psutil.Process] = []
        with suppress(psutil.Error):
            if any("valor_ray.program.inside.zygote" in word for word in child.cmdline()):
                below = [child, *child.children(recursive=True)]
        for process in below:
            with suppress(psutil.Error):  # of one that ends just now; the others are there
                # bubblewrap's own processes stand between driver and zygote and carry its command
                if process.cmdline()[:1] == [sys.executable] and process.status() != psutil.STATUS_ZOMBIE:
                    processes[process.pid] = process
    return processes


@pytest.fixture
def zygotes() -> Callable[..., list[psutil.Process]]:
    """Zygotes below this process, or below another driver."""

    def find(driver: psutil.Process | None = None) -> list[psutil.Process]:
        processes = _sandbox_processes(driver or psutil.Process())
        return [process for process in processes.values() if process.ppid() not in processes]

    return find


@pytest.fixture
def forked() -> Callable[[], list[int]]:
    """Process ids of what the zygotes of this process have forked: programs, and warm workers."""

    def find() -> list[int]:
        processes = _sandbox_processes(psutil.Process())
        pids = []
        for process in processes.values():
            with suppress(psutil.Error):
                pids += [process.pid] if process.ppid() in processes else []
        return pids

    return find
