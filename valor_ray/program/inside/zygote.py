"""The process that programs are forked from: freshly exec'ed, small, single-threaded, with numpy loaded once.

Started by `zygote_process` as `python -c "... zygote.main(...)"`. It reads one message per program from its control
socket ({"id"} with the program's socket attached) and answers {"id", "event": "started" (with a pidfd attached) |
"failed" | "exit", ...}. It never sees a program's text. Standard library and numpy only.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import platform
import resource
import select
import socket
import sys
import warnings
from contextlib import suppress
from types import CodeType
from typing import Any

from valor_ray.program.inside import child, warm
from valor_ray.program.inside.channel import Channel
from valor_ray.program.inside.namespace import PRELOADED, NothingElse
from valor_ray.program.walls import lockdown, seccomp


class Zygote:
    """Forks a locked-down process for each descriptor that the driver sends, and tells how each one ended.

    Made by `main`, once in a process.
    `serve` waits for the driver and for the ends of programs, both at a time; it never waits for one program.
    """

    def __init__(
        self, control: socket.socket, stubs: CodeType, limits: lockdown.Limits, drop_user: bool
    ) -> None:
        self._control = control
        self._stubs = stubs
        self._limits = limits
        self._drop_user = drop_user
        self._pid = os.getpid()
        self._filter = seccomp.build(lockdown.SOCKET_FD)
        self._programs: dict[int, tuple[int, int]] = {}  # pidfd -> (id, pid)
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Until the driver closes the control socket, or dies."""
        while True:
            for fd, _ in self._poll.poll():
                if fd != self._control.fileno():
                    self._reap(fd)
                elif not self._start_one():
                    return

    def _start_one(self) -> bool:
        body, fds, _, _ = socket.recv_fds(self._control, 4096, 1)
        if not body:
            return False
        ident = json.loads(body)["id"]
        try:
            pid = os.fork()
        except OSError as error:
            self._tell({"id": ident, "event": "failed", "error": os.strerror(error.errno or 0)})
        else:
            if pid == 0:
                self._become_program(fds[0])
            pidfd = os.pidfd_open(pid)
            self._programs[pidfd] = (ident, pid)
            self._poll.register(pidfd, select.POLLIN)
            self._tell({"id": ident, "event": "started"}, pidfd)
        os.close(fds[0])
        return True

    def _become_program(self, fd: int) -> None:
        try:
            try:
                lockdown.lock_down(fd, self._pid, self._limits, self._drop_user, self._filter)
            except OSError as error:
                Channel().send({"t": "refused", "error": str(error)})
            else:
                _serve_driver(self._stubs)
        finally:
            os._exit(0)

    def _reap(self, pidfd: int) -> None:
        ident, pid = self._programs.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status, usage = os.wait4(pid, 0)
        cpu = usage.ru_utime + usage.ru_stime
        self._tell({"id": ident, "event": "exit", "code": os.waitstatus_to_exitcode(status), "cpu": cpu})

    def _tell(self, message: dict[str, Any], fd: int | None = None) -> None:
        socket.send_fds(self._control, [json.dumps(message).encode()], [] if fd is None else [fd])


def _serve_driver(stubs: CodeType) -> None:
    """In a locked-down process: run what its driver sends, one program, or as a warm worker one after the other."""
    channel = Channel()
    channel.send({"t": "locked"})  # before any program can be in here: nobody else could have said it
    request = channel.receive()
    if "warm" in request:
        warm.serve(stubs, channel)
    else:
        child.run(request, stubs, channel)


def main(
    control_fd: int, driver: int, stub_source: str, cpu_seconds: float, memory_mib: int, extra: str = ""
) -> None:
    """Build the walls that all programs share, say which there are, then serve. extra: one more module to preload."""
    lockdown.die_with_parent(driver)
    control = socket.socket(fileno=control_fd)
    for name in (*PRELOADED, *filter(None, [extra])):
        importlib.import_module(name)
    stubs = compile(stub_source, "<tools>", "exec")
    warnings.simplefilter("ignore")  # showing one would import more
    drop_user = lockdown.can_drop_user()
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # not writable in some containers
        score.write("1000")  # when memory runs out, a program goes before anything else on the machine
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    landlock = lockdown.close_files()
    os.environ.clear()
    sys.path.clear()
    sys.meta_path[:] = [NothingElse]
    limits = lockdown.Limits(cpu_seconds, mapped + (memory_mib << 20))
    zygote = Zygote(control, stubs, limits, drop_user)
    layers = {"machine": platform.machine(), "other_user": drop_user, "landlock": landlock}
    control.sendall(json.dumps({"event": "ready", "layers": layers}).encode())
    gc.collect()
    gc.freeze()  # a collection in a program would otherwise touch, and so copy, every page
    zygote.serve()
