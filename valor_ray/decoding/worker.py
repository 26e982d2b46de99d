"""The process that decodes what its header does not bound: one picture after the other, each within its limits.

It is the other half of `pool.py`, which kills it and starts another when a picture goes over the limits.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import struct
import warnings
from contextlib import suppress

from PIL import AvifImagePlugin, GifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin

from valor_ray.decoding.formats import FORMATS
from valor_ray.decoding.here import DECODER_ERRORS, decode_here, register_heif
from valor_ray.decoding.source import Bounds, Source
from valor_ray.errors import ImageError

SOCKET_FD, STATM_FD = 3, 4  # the only descriptors that a worker has: to the pool, and what it maps
IDLE_S = 60.0  # then it ends: who decodes a picture a day should not keep its memory
# Bytes of the file, place of its format in FORMATS, orientation or 0, then the bounds.
REQUEST = struct.Struct("!QBBQQdI")
# Height and width of the pixels that follow; or 0 and the length of the error's text.
REPLY = struct.Struct("!II")
_PR_SET_NO_NEW_PRIVS = 38
_PLUGINS = (
    AvifImagePlugin,
    GifImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)  # files are not opened later on


def main(fd: int) -> None:
    """Serve until the other end of the socket is closed or nothing has come for IDLE_S."""
    sock = _settle(fd)
    while select.select([sock], [], [], IDLE_S)[0]:
        head = _receive(sock, REQUEST.size)
        if head is None:
            return
        size, form, orientation, max_pixels, max_source, seconds, memory_mib = REQUEST.unpack(head)
        data = _receive(sock, size)
        if data is None:
            return
        bounds = Bounds(max_pixels, max_source, seconds, memory_mib, 1)
        _answer(sock, Source(FORMATS[form], bytes(data), orientation or None), bounds)


def _settle(fd: int) -> socket.socket:
    """Give up what decoding does not need: other descriptors, new files, rights, and threads of the libraries."""
    Image.preinit()
    Image.MAX_IMAGE_PIXELS = None  # the size is checked by the bounds
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    warnings.simplefilter("ignore")
    with suppress(ImageError):  # said when such a picture comes
        register_heif()
    sock = os.dup(fd) if fd == STATM_FD else fd
    os.dup2(os.open("/proc/self/statm", os.O_RDONLY), STATM_FD)
    os.dup2(sock, SOCKET_FD)
    os.closerange(STATM_FD + 1, 1 << 16)
    for limit, most in (
        (resource.RLIMIT_NOFILE, STATM_FD + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return socket.socket(fileno=SOCKET_FD)


def _answer(sock: socket.socket, source: Source, bounds: Bounds) -> None:
    _limit_memory(bounds.memory_mib)
    signal.setitimer(
        signal.ITIMER_PROF, bounds.seconds
    )  # of CPU; nobody catches SIGPROF, so the kernel ends us
    try:
        pixels = decode_here(source, bounds)
    except ImageError as error:
        _refuse(sock, str(error))
    except (*DECODER_ERRORS, MemoryError) as error:
        _refuse(sock, f"The picture is damaged ({type(error).__name__}). Save it again or send another.")
    else:
        sock.sendall(REPLY.pack(*pixels.shape[:2]))
        sock.sendall(pixels.data.cast("B"))
    signal.setitimer(signal.ITIMER_PROF, 0)


def _refuse(sock: socket.socket, text: str) -> None:
    words = text.encode("utf-8", "replace")[:2000]
    sock.sendall(REPLY.pack(0, len(words)) + words)


def _limit_memory(mib: int) -> None:
    """What this picture may allocate on top of what the process maps already."""
    pages = int(os.pread(STATM_FD, 100, 0).split()[0])
    most = pages * resource.getpagesize() + mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _receive(sock: socket.socket, size: int) -> bytearray | None:
    """None: the other end has closed."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return data
