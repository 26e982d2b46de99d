"""The driver's half of the zygote: start it, have it fork programs, hear how they end."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

import valor_ray
from valor_ray.errors import ProgramError
from valor_ray.program.inside import protocol
from valor_ray.program.walls import bubblewrap

_START_SECONDS = 60.0
_RUN = (
    "import sys; sys.path[:0] = sys.argv[1:3]; from valor_ray.program.inside.zygote import prepare;"
    " (lambda a: prepare(int(a[3]), int(a[4]), a[5], float(a[6]), int(a[7]), a[8]))(sys.argv).serve()"
)
# -s -S -P -B: nothing of the user's, no site hooks, no script folder, no bytecode written.
_FLAGS = ("-s", "-S", "-P", "-B")
# One BLAS thread: threads cost address space and do not survive a fork. A fixed seed: sets are ordered alike each time.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}


class ZygoteLost(ProgramError):
    """The zygote ended while it was needed; the programs that ran in it are lost, the next call starts another."""


@dataclass(frozen=True)
class Exit:
    code: int  # exit code, or minus the signal
    cpu_seconds: float


class Process:
    """One program's process: the driver's end of its socket, a handle to kill it, and its end."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.sock = sock
        self.started: asyncio.Future[int] = loop.create_future()  # pidfd
        self.exited: asyncio.Future[Exit] = loop.create_future()
        self._pid = 0

    def mapped_bytes(self) -> int | None:
        """Its address space, as the kernel sees it. None where this machine hides other users' processes."""
        try:
            if not self._pid:
                with open(f"/proc/self/fdinfo/{self.started.result()}") as info:
                    self._pid = int(info.read().rpartition("\nPid:")[2].split()[0])
            with open(f"/proc/{self._pid}/statm") as statm:
                return int(statm.read().split()[0]) * mmap.PAGESIZE
        except (OSError, ValueError, IndexError):
            return None

    def kill(self) -> None:
        """Does nothing to a process that has not started or has ended."""
        if not self.started.done() or self.started.exception() or self.exited.done():
            return
        with suppress(ProcessLookupError):  # it may just have ended by itself
            signal.pidfd_send_signal(self.started.result(), signal.SIGKILL)


class ZygoteProcess:
    """The zygote as the driver sees it: started once, then asked for locked-down processes until it is lost or closed.

    Called by Sandbox, which starts another when this one is lost. `start` before `spawn`; `layers`: its walls.
    `start` waits for numpy to load in there, `spawn` for one fork; how programs end comes in on the loop (`_read`).
    """

    def __init__(
        self, stub_source: str, cpu_seconds: float, memory_mib: int, extra: str = "", wrap: bool = True
    ) -> None:
        """extra: one more module to preload, which a program may then import. wrap: in bubblewrap if it works here."""
        self._arguments = (stub_source, str(cpu_seconds), str(memory_mib), extra)
        self._wrap = wrap
        self._popen: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._processes: dict[int, Process] = {}
        self._next = 0
        self.layers: dict[str, Any] = {}

    @property
    def alive(self) -> bool:
        return self._control is not None

    async def start(self) -> None:
        """Raises ProgramError when it does not come up."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        roots = [str(Path(module.__file__ or "").parents[1]) for module in (valor_ray, numpy)]
        wrapping = await asyncio.to_thread(bubblewrap.prefix, *roots) if self._wrap else ()
        command = [
            *wrapping,
            sys.executable,
            *_FLAGS,
            "-c",
            _RUN,
            *roots,
            str(theirs.fileno()),
            "1" if wrapping else str(os.getpid()),  # the parent: in a namespace of its own, bubblewrap's init
            *self._arguments,
        ]
        with theirs:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C at the terminal is the driver's business
            )
        ours.setblocking(False)
        try:
            async with asyncio.timeout(_START_SECONDS):
                hello = await loop.sock_recv(ours, 4096)
        except TimeoutError:
            hello = b""
        if not hello:
            ours.close()
            self._popen.kill()
            _, complaint = self._popen.communicate()
            last = complaint.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise ProgramError(f"The sandbox does not start: {last[0]}. `valor doctor` checks what it needs.")
        self.layers = {**json.loads(hello)["layers"], "bubblewrap": bool(wrapping)}
        self._control = ours
        loop.add_reader(ours.fileno(), self._read)

    async def spawn(self) -> Process:
        """Fork a process; it has said that it is locked down. Nothing that it says later is believed.

        Raises ZygoteLost, or ProgramError when the machine has no room for one or it cannot lock itself down.
        """
        if self._control is None:
            raise ZygoteLost("The sandbox is not running.")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        process = Process(ours, asyncio.get_running_loop())
        ident, self._next = self._next, self._next + 1
        self._processes[ident] = process
        try:
            with theirs:
                socket.send_fds(self._control, [json.dumps({"id": ident}).encode()], [theirs.fileno()])
            await asyncio.shield(process.started)
            await _locked_down(ours)
        except OSError as error:
            self._processes.pop(ident, None)
            ours.close()
            raise ZygoteLost(f"The sandbox does not answer: {error}.") from error
        except BaseException:
            process.started.add_done_callback(lambda _: process.kill())  # given up while it was being forked
            ours.close()
            raise
        return process

    async def close(self) -> None:
        """End the zygote; its programs die with it. Closing twice, even at the same time, is closing once."""
        self._lose()
        popen, self._popen = self._popen, None
        if popen is not None:
            popen.kill()
            await asyncio.to_thread(popen.communicate)

    def _read(self) -> None:
        assert self._control is not None
        try:
            body, fds, _, _ = socket.recv_fds(self._control, 4096, 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            body, fds = b"", []
        if not body:
            self._lose()
            return
        message = json.loads(body)
        process = self._processes[message["id"]]
        if message["event"] == "started":
            process.started.set_result(fds[0])
            return
        del self._processes[message["id"]]
        if message["event"] == "failed":
            _fail(
                process.started,
                ProgramError(f"No process for a program: {message['error']}. Run fewer at a time."),
            )
            return
        os.close(process.started.result())
        process.exited.set_result(Exit(message["code"], message["cpu"]))

    def _lose(self) -> None:
        if self._control is None:
            return
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._control = None
        lost = ZygoteLost(
            "The sandbox ended while a program was running. Run it again: the sandbox restarts by itself."
        )
        for process in self._processes.values():
            if process.started.done():
                process.kill()
                os.close(process.started.result())
            else:
                _fail(process.started, lost)
            _fail(process.exited, lost)
        self._processes.clear()


async def _locked_down(sock: socket.socket) -> None:
    """Wait until a new process has built its walls. Raises ZygoteLost when it has ended, ProgramError if it cannot."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < protocol.HEADER or len(data) < protocol.HEADER + protocol.length(
        data[: protocol.HEADER]
    ):
        try:
            more = await loop.sock_recv(sock, 4096)
        except OSError:
            more = b""
        if not more:
            raise ZygoteLost("A process of the sandbox ended before a program came. Run it again.")
        data += more
    said = protocol.decode(data[protocol.HEADER :])
    if said["t"] != "locked":
        raise ProgramError(f"The sandbox cannot lock a program down ({said['error']}): nothing was run.")


def _fail(future: asyncio.Future[Any], error: ProgramError) -> None:
    future.set_exception(error)
    future.exception()  # whoever waits gets it; nobody need wait
