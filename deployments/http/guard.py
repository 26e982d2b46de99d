"""What stands before every route: paths and methods as clients write them, the bearer token, the requests in work."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.http.errors import RequestError


class Lenient:
    """ASGI middleware: HEAD is GET without the body, and a path may end with a slash, as monitors and clients ask."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bare(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        if scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, bare)
        else:
            await self._app(scope, receive, send)


def check_token(request: Request, token: str | None) -> None:
    """Compare the bearer token in constant time. Raises RequestError (401)."""
    if token is None:
        return
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(sent.strip().encode(), token.encode()):
        raise RequestError(
            401,
            "unauthorized",
            "This server wants a token. Send the header `Authorization: Bearer <token>`.",
            {"WWW-Authenticate": "Bearer"},
        )


class _Place:
    """A request's, in the gate."""

    def __init__(self) -> None:
        self.waits = 0  # of its calls, how many wait for a part
        self.held = 0  # bytes of its picture


_PLACE: ContextVar[_Place] = ContextVar(
    "place"
)  # of the request that this task, and those that it starts, work for


class Gate:
    """Counts the requests in work, and those that wait for a part; beyond `limit` of either they are refused at once.
    And the bytes of the pictures of both, which may be `most_bytes` together.

    A request that waits (for the successor of a part's replica) gives its place for work to others meanwhile, and takes
    one again when it goes on, also where that is one too many.
    """

    def __init__(self, limit: int, most_bytes: int) -> None:
        self.limit = limit
        self.most_bytes = most_bytes
        self.inside = 0
        self.standing = 0
        self.held = 0

    def check(self) -> None:
        """Before a body is read that nobody could work on. Raises RequestError (429) when there is no place now."""
        if self.inside >= self.limit:
            raise _overloaded(f"{self.limit} requests are already in work.")

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Raises RequestError (429)."""
        self.check()
        self.inside += 1
        place = _Place()
        token = _PLACE.set(place)
        try:
            yield
        finally:
            _PLACE.reset(token)
            self.inside -= 1
            self.held -= place.held

    def hold(self, size: int) -> None:
        """Counts bytes of the picture of the request in work, until that ends. Raises RequestError (429)."""
        if self.held + size > self.most_bytes:
            raise _overloaded("The pictures of the requests in work are as large as there is room for.")
        self.held += size
        _PLACE.get().held += size

    @contextmanager
    def stand(self) -> Iterator[None]:
        """Around what a request in work waits for; it may wait for several things at the same time. Raises RequestError
        (429)."""
        place = _PLACE.get()
        if not place.waits:
            if self.standing >= self.limit:
                raise _overloaded(f"{self.limit} requests already wait for a part that is being restarted.")
            self.inside -= 1
            self.standing += 1
        place.waits += 1
        try:
            yield
        finally:
            place.waits -= 1
            if not place.waits:
                self.standing -= 1
                self.inside += 1


async def while_connected(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """The work's response; the work is cancelled when the caller hangs up. Raises ClientDisconnect then.

    Called when the body has been read: what comes after it is the end of the connection.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _overloaded(why: str) -> RequestError:
    return RequestError(429, "overloaded", f"{why} Try again in a moment.", {"Retry-After": "1"})
