"""What a program's process says to the driver, and what it tells of the program's own lines: for both paths.

This module is loaded in the sandbox only: standard library.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

from valor_ray.program.inside import protocol
from valor_ray.program.inside.wrap import FILENAME
from valor_ray.program.walls.lockdown import SOCKET_FD


class ToolError(Exception):
    """What a program sees when a tool refuses its arguments."""


class Channel:
    """The process's end of the socket to the driver: whole messages, in order, both ways.

    The zygote makes one after each fork; `child` and `warm` use it.
    Both methods block, there is nothing else to do meanwhile; the process ends when the driver has gone.
    """

    def send(self, message: dict[str, Any]) -> None:
        data = memoryview(protocol.encode(message))
        while data:
            data = data[os.write(SOCKET_FD, data) :]

    def receive(self) -> Any:
        return protocol.decode(self._exactly(protocol.length(self._exactly(protocol.HEADER))))

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = os.read(SOCKET_FD, size)
            if not part:
                os._exit(1)  # the driver is gone
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def failing_line(trace: TracebackType | None) -> int | None:
    """The innermost line of the program in a traceback."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILENAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def calling_line() -> int:
    """The line of the program from which its tool was called."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename != FILENAME:
        frame = frame.f_back
    return frame.f_lineno


def message_of(error: BaseException) -> str:
    """The message of whatever a program raised."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 the process boundary: the program's own __str__
        return "(its message cannot be shown)"
