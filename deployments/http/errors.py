"""Every failure of a request as `{"error": {"code", "message", "type", "param"}}` with the status that fits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from valor_ray.errors import ImageError, QuestionError, ServiceError, ValorError
from valor_ray.untrusted.terminal import safe_line

logger = logging.getLogger("ray.serve")
MAX_MESSAGE = 2000  # characters: what a caller sent comes back to him in part only
_CALLERS_FAULT = (ImageError, QuestionError)
_CODES = {404: "not_found", 405: "method_not_allowed"}


class RequestError(ValorError):
    """A request that is refused: `status` is the HTTP status, `code` the stable name of the reason, `param` the field
    that it is about."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.param = param


class Json(JSONResponse):
    """JSON in pure ASCII, so that any text a program makes (lone surrogates included) can be sent."""

    def render(self, content: Any) -> bytes:
        import json

        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def error_response(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    param: str | None = None,
) -> JSONResponse:
    # `type` and `param` are there for OpenAI clients, which look for them.
    kind = "invalid_request_error" if status < 500 else "server_error"
    shown = message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + "…"
    body = {"error": {"code": code, "message": shown, "type": kind, "param": param}}
    return Json(body, status_code=status, headers=dict(headers) if headers else None)


def install(app: FastAPI) -> None:
    """Register the handlers. Exceptions nobody foresaw become a 500 here and a traceback in the log."""

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return error_response(error.status, error.code, str(error), error.headers, error.param)

    @app.exception_handler(ValorError)
    async def failed(request: Request, error: ValorError) -> Response:
        if isinstance(error, _CALLERS_FAULT):
            return error_response(400, error.code, str(error), param=error.code)
        logger.warning("%s %s: %s", request.method, safe_line(request.url.path[:100]), safe_line(str(error)))
        return error_response(503 if isinstance(error, ServiceError) else 502, error.code, str(error))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "request")
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"
        return error_response(error.status_code, code, _no_route(app, request, error), headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        return error_response(
            500, "internal", f"Unexpected {type(error).__name__}; the server's log says more."
        )


def _no_route(app: FastAPI, request: Request, error: HTTPException) -> str:
    asked = f"{request.method[:20]} {request.url.path[:100]}"
    if error.status_code == 405:
        return f"{asked}: this path answers {(error.headers or {}).get('Allow')} only. /docs describes each."
    if error.status_code != 404:
        return f"{error.detail} /docs describes each endpoint."
    there = ", ".join(route.path_format for route in app.routes if isinstance(route, Route))
    return f"There is no {asked} here. There are {there}. The base_url of an OpenAI client ends with /v1."
