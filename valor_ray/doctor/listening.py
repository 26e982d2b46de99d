"""TCP ports of this machine: is one free, and which one is."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _USUAL = 10_000, 32_768  # above what services are known by; where the system's own range begins


def why_not(host: str, port: int) -> str | None:
    """Why nothing can listen on host:port now, in the system's words; None when something can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on at this moment, and that nobody is given who asks for any.

    So it stays free until it is used: Ray asks for dozens while it starts. Raises OSError when there is none.
    """
    drawn = random.SystemRandom()
    for _ in range(1000):
        port = drawn.randrange(_LOWEST, max(_first_given(), _LOWEST + 1000))
        if why_not("127.0.0.1", port) is None:
            return port
    raise OSError("no TCP port of 127.0.0.1 is free")


def _first_given() -> int:
    """The lowest port that the system gives to those who ask for any."""
    try:
        return int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL
