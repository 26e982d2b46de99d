"""What stands before every route: paths and methods as clients write them, the bearer token, the requests in work."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
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


class Gate:
    """Counts the requests in work; beyond `limit` they are refused at once instead of waiting for minutes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0

    def check(self) -> None:
        """Before a body is read that nobody could work on. Raises RequestError (429) when there is no place now."""
        if self.inside >= self.limit:
            message = f"{self.limit} requests are already in work. Try again in a moment."
            raise RequestError(429, "overloaded", message, {"Retry-After": "1"})

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Raises RequestError (429)."""
        self.check()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
