"""The process that programs are forked from: freshly exec'ed, small, single-threaded, with numpy loaded once.

Started by `zygote_process` as `python -c "... zygote.prepare(...).serve()"`. It reads one message per program from its
control socket ({"id"} with the program's socket attached) and answers {"id", "event": "started" (with a pidfd attached)
| "failed" | "exit", ...}. It never sees a program's text. Standard library and numpy only.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import select
import socket
import sys
import warnings
from contextlib import suppress
from types import CodeType
from typing import Any

from valor_ray.program.inside import child
from valor_ray.program.inside.channel import Channel
from valor_ray.program.inside.namespace import PRELOADED, NothingElse
from valor_ray.program.inside.placeholders import World
from valor_ray.program.inside.warm.residue import Residue
from valor_ray.program.inside.warm.worker import Worker
from valor_ray.program.walls import host, lockdown, memory, seccomp

_SEED = 0
_WARM_UPS = 10  # Python makes code fit its types in the first few rounds
_OURS = """\
final_answer: list = []
for cup in gd_detect(img_pth, "cup, plate"):
    final_answer.append(f"{depth(img_pth, cup['bbox']):.2f} {vqa(img_pth, cup['bbox'], 'What colour is it?')}")
def far(box):
    return float(np.mean([box[0], box[2]]))
try:
    print(far(depth(img_pth, None)))
except Exception as error:
    print(error)
"""


class Zygote:
    """Forks a locked-down process for each descriptor that the driver sends, and tells how each one ended.

    Made by `prepare`, once in a process.
    `serve` waits for the driver and for the ends of programs, both at a time; it never waits for one program.
    """

    def __init__(
        self, control: socket.socket, worker: Worker, limits: lockdown.Limits, drop_user: bool
    ) -> None:
        """worker: what each process has at hand, for all that it may be told."""
        self._control = control
        self._worker = worker
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
        """In the fork: lock down, then run what the driver sends: one program, or as a warm worker any number."""
        worker, channel = self._worker, Channel()
        try:
            try:
                lockdown.lock_down(fd, self._pid, self._limits, self._drop_user, self._filter)
            except OSError as error:
                channel.send({"t": "refused", "error": str(error)})
                return
            vars(self).clear()  # of the other processes
            random.seed(_SEED)  # which the fork has changed
            channel.send({"t": "locked"})  # before any program can be in here: nobody else could have said it
            request = channel.receive()
            if "warm" in request:
                worker.serve(channel)
            else:
                child.run(request, worker.stubs, channel)
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


def prepare(
    control_fd: int, driver: int, stub_source: str, cpu_seconds: float, memory_mib: int, extra: str = ""
) -> Zygote:
    """Build the walls that all programs share, say which there are. extra: one more module to preload."""
    lockdown.die_with_parent(driver)
    control = socket.socket(fileno=control_fd)
    memory.return_large_blocks()
    memory.zero_new_arrays()
    for name in (*PRELOADED, *filter(None, [extra])):
        importlib.import_module(name)
    warnings.simplefilter("ignore")  # showing one would import more
    drop_user = lockdown.can_drop_user()
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # not writable in some containers
        score.write("1000")  # when memory runs out, a program goes before anything else on the machine
    random.seed(_SEED)  # a program's verdict does not hang on its luck
    if extra == "numpy.random":
        sys.modules[extra].seed(_SEED)
    host.forget_host()
    sys.meta_path[:] = [NothingElse]
    worker = _warmed_up(compile(stub_source, "<tools>", "exec"))
    limits = lockdown.Limits(cpu_seconds, lockdown.mapped_bytes() + (memory_mib << 20))
    landlock = lockdown.close_files()
    layers = {"machine": os.uname().machine, "other_user": drop_user, "landlock": landlock}
    control.sendall(json.dumps({"event": "ready", "layers": layers}).encode())
    gc.collect()
    gc.freeze()  # a collection in a program would otherwise touch, and so copy, every page
    return Zygote(control, worker, limits, drop_user)


def _warmed_up(stubs: CodeType) -> Worker:
    """A worker that has run a program of ours: what is made once is made, and stands in what it compares with."""
    request = {
        "code": _OURS,
        "size": [8, 8],
        "calls": 9,
        "output": 99,
        "trace": True,
        "worlds": [World().to_json()],
    }
    warming = Worker(stubs, Residue())
    gc.freeze()  # each answer collects, which goes through all that is loaded otherwise
    for _ in range(_WARM_UPS):
        warming.answer(request)
    gc.unfreeze()
    return Worker(stubs, Residue())
