"""The bodies of requests: each is read whole, in bytes and time that are bounded, before its request takes a place."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from fastapi import Request
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from deployments.http.errors import RequestError
from valor_ray.config.service import ServerConfig

HELD = 16  # longest bodies that are held while they arrive, all together
_LONGEST_LENGTH = 15  # digits of a Content-Length that is read at all


class Bodies:
    """Reads the bodies of requests, any number at a time.

    Bounds each in bytes (`max_bytes`), in the seconds without a byte (server.body_idle_s) and in those of all of it
    (server.body_s); and what all that are still arriving hold together. Beyond that the one that has been silent for
    longest gives way, so that callers who stall cannot shut out those who send.
    """

    def __init__(self, max_bytes: int, limits: ServerConfig) -> None:
        self._max_bytes = max_bytes
        self._idle_s, self._whole_s = limits.body_idle_s, limits.body_s
        self._held = 0
        self._arriving: OrderedDict[asyncio.Timeout, int] = (
            OrderedDict()
        )  # bytes of each; the longest silent first

    async def read(self, request: Request) -> bytes:
        """The whole body. Raises ClientDisconnect, or RequestError: 400 a broken Content-Length, 408 too slow, 413 too
        large, 415 compressed."""
        _check_coding(request.headers)
        if declared_length(request.headers) > self._max_bytes:
            raise self._too_large()
        loop, data = asyncio.get_running_loop(), bytearray()
        end = loop.time() + self._whole_s
        try:
            async with asyncio.timeout_at(end) as limit:
                more = True
                while more:
                    self._heard(limit, len(data))
                    limit.reschedule(min(loop.time() + self._idle_s, end))
                    message = await request.receive()
                    if message["type"] != "http.request":
                        raise ClientDisconnect
                    data += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(data) > self._max_bytes:
                        raise self._too_large()
        except TimeoutError:
            raise RequestError(408, "timeout", self._too_slow(len(data)), {"Connection": "close"}) from None
        finally:
            self._held -= self._arriving.pop(limit, 0)
        return bytes(data)

    def _heard(self, limit: asyncio.Timeout, size: int) -> None:
        self._held += size - self._arriving.pop(limit, 0)
        self._arriving[limit] = size
        while self._held > HELD * self._max_bytes:
            silent, held = self._arriving.popitem(last=False)
            self._held -= held
            if not silent.expired():
                silent.reschedule(0)

    def _too_large(self) -> RequestError:
        return RequestError(
            413,
            "too_large",
            f"The request is larger than {self._max_bytes:,} bytes. Scale the picture down first.",
        )

    def _too_slow(self, size: int) -> str:
        return (
            f"The body did not arrive in time ({size:,} bytes of it did): at most {self._idle_s:g} s may pass without "
            f"a byte and {self._whole_s:g} s in all, and who stalls gives way to others. Send it again, smaller if the "
            "connection is slow."
        )


def declared_length(headers: Headers) -> int:
    """What Content-Length says, 0 without one. Raises RequestError (400) when it is no number, or says two things."""
    said = set(headers.getlist("content-length"))
    text = said.pop() if said else "0"
    if said or not (text.isascii() and text.isdigit()):
        raise RequestError(400, "request", "Content-Length must be one whole number.")
    return int(text) if len(text) <= _LONGEST_LENGTH else 10**_LONGEST_LENGTH


def _check_coding(headers: Mapping[str, str]) -> None:
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise RequestError(
            415,
            "media_type",
            f"The body is compressed ({coding[:40]}). Send it as it is: without Content-Encoding.",
            {"Accept-Encoding": "identity"},
        )
