"""Processes that decode pictures and can be killed: one picture each at a time, CPU and memory limited by the kernel.

Shared by all threads of a process, started when first needed. A worker's own half is `worker.py`.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL

import valor_ray
from valor_ray.decoding.formats import FORMATS
from valor_ray.decoding.source import Bounds, Source
from valor_ray.decoding.worker import REPLY, REQUEST
from valor_ray.errors import ImageError, ServiceError

_RUN = "import sys; a = sys.argv; sys.path[:0] = a[1:4]; from valor_ray.decoding.worker import main; main(int(a[4]))"
_FLAGS = (
    "-s",
    "-S",
    "-P",
    "-B",
)  # nothing of the user's, no site hooks, no script folder, no bytecode written
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}  # and no secrets
_WALL_S = 120.0  # longest silence of a worker: far more than its CPU limit, for machines that are overloaded


class WorkerEnded(Exception):
    """code: as of subprocess, minus the signal. Zero: it had nothing to do for a while."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Worker:
    """A decoding process and our end of its socket."""

    def __init__(self) -> None:
        self._sock, theirs = socket.socketpair()
        roots = [str(Path(module.__file__ or "").parents[1]) for module in (valor_ray, np, PIL)]
        with theirs:
            command = [sys.executable, *_FLAGS, "-c", _RUN, *roots, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries write there what a caller's file makes them write
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C at the terminal is for the command
            )
        self._sock.settimeout(_WALL_S)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def decode(self, source: Source, bounds: Bounds) -> np.ndarray:
        """Raises ImageError, and WorkerEnded when the process has ended before it has answered."""
        head = REQUEST.pack(
            len(source.data),
            FORMATS.index(source.form),
            source.orientation if source.orientation in range(1, 9) else 0,
            bounds.max_pixels,
            bounds.max_source_pixels,
            bounds.seconds,
            bounds.memory_mib,
        )
        try:
            self._sock.sendall(head)
            self._sock.sendall(source.data)
            height, width = REPLY.unpack(self._receive(REPLY.size))
            if not height:
                raise ImageError(self._receive(width).decode("utf-8", "replace"))
            if height * width > bounds.max_pixels:  # never said by a worker that is in its right mind
                raise ConnectionError
            pixels = np.empty((height, width, 3), np.uint8)
            self._fill(pixels.data.cast("B"))
        except OSError:  # also its silence
            raise WorkerEnded(self.end()) from None
        pixels.setflags(write=False)
        return pixels

    def end(self) -> int:
        """Close the socket, kill the process unless it is gone, and return how it ended."""
        self._sock.close()
        try:
            return self._process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def abandon(self) -> None:
        """After a fork, in the child: the worker is the parent's."""
        self._sock.close()
        self._process.returncode = 0  # nobody here can wait for it

    def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        self._fill(memoryview(data))
        return data

    def _fill(self, view: memoryview) -> None:
        while view:
            got = self._sock.recv_into(view)
            if not got:
                raise ConnectionError
            view = view[got:]


class Pool:
    """Workers for all threads of this process: at most `bounds.decoders` at work, who comes first is served first."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._free = threading.Condition()
        self._at_work = 0

    def decode(self, source: Source, bounds: Bounds) -> np.ndarray:
        """Waits for a worker, then for the picture. Raises ImageError, or ServiceError when none can be started."""
        with self._turn(bounds.decoders):
            for _ in range(2):
                worker = self._worker()
                try:
                    pixels = worker.decode(source, bounds)
                except WorkerEnded as ended:
                    if ended.code > 0:
                        raise ServiceError(
                            f"The decoder of pictures does not start (exit code {ended.code}). Install Pillow again."
                        ) from None
                    if ended.code < 0:
                        raise _overrun(ended.code, bounds) from None
                    continue  # its idle time was over just then
                except ImageError:
                    self._idle.append(worker)
                    raise
                except BaseException:  # Ctrl-C: it is in the middle of something
                    worker.end()
                    raise
                self._idle.append(worker)
                return pixels
        raise ServiceError("The decoders of pictures end as soon as they start. See the machine's limits.")

    def pids(self) -> list[int]:
        """Of the idle workers."""
        return [worker.pid for worker in self._idle]

    def close(self) -> None:
        """End the idle workers; the next picture starts another."""
        while self._idle:
            self._idle.pop().end()

    def abandon(self) -> None:
        while self._idle:
            self._idle.pop().abandon()

    def _worker(self) -> Worker:
        """One that waits, or another in the place of those that have ended meanwhile."""
        while True:
            try:
                worker = self._idle.pop()
            except IndexError:
                return Worker()
            if worker.alive:
                return worker
            worker.end()

    @contextmanager
    def _turn(self, most: int) -> Iterator[None]:
        with self._free:
            self._free.wait_for(lambda: self._at_work < most)
            self._at_work += 1
        try:
            yield
        finally:
            with self._free:
                self._at_work -= 1
                self._free.notify()


def _overrun(code: int, bounds: Bounds) -> ImageError:
    if -code == signal.SIGPROF:
        return ImageError(
            f"The picture takes more than {bounds.seconds:g} s to decode (images.decode_seconds). Scale it down, or "
            "save it again as a plain JPEG or PNG, not progressive."
        )
    name = signal.Signals(-code).name
    return ImageError(
        f"The picture is damaged: its decoder ended with {name}. Save it again or send another."
    )


POOL = Pool()


def _after_fork() -> None:
    """A forked process starts workers of its own, and must not talk to its parent's."""
    global POOL
    POOL.abandon()
    POOL = Pool()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: POOL.close())
