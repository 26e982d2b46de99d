"""What stands before every route: the size of the body, the bearer token, the number of requests in work."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.http.errors import RequestError, error_response


class BodyLimit:
    """ASGI middleware: refuses bodies over `max_bytes` by their header, or as soon as more has arrived."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._max_bytes:
            await _drain(receive, 4 * self._max_bytes)
            await error_response(413, "too_large", self._message())(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise RequestError(413, "too_large", self._message())
            return message

        await self._app(scope, counted, send)

    def _message(self) -> str:
        return f"The request is larger than {self._max_bytes:,} bytes. Scale the picture down first."


async def _drain(receive: Receive, max_bytes: int) -> None:
    """Read on and drop, so that a client that is still sending gets to read why it was refused."""
    seen = 0
    while seen <= max_bytes:
        message = await receive()
        seen += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


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


class Gate:
    """Counts the requests in work; beyond `limit` they are refused at once instead of waiting for minutes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Raises RequestError (429)."""
        if self.inside >= self.limit:
            message = f"{self.limit} requests are already in work. Try again in a moment."
            raise RequestError(429, "overloaded", message, {"Retry-After": "1"})
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
