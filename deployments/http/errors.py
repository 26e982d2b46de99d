"""Every failure of a request as `{"error": {"code", "message"}}` with the status that fits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from valor_ray.errors import ImageError, QuestionError, ServiceError, ValorError

logger = logging.getLogger("ray.serve")
_CALLERS_FAULT = (ImageError, QuestionError)
_CODES = {404: "not_found", 405: "method_not_allowed"}


class RequestError(ValorError):
    """A request that is refused: `status` is the HTTP status, `code` the stable name of the reason."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


class Json(JSONResponse):
    """JSON in pure ASCII, so that any text a program makes (lone surrogates included) can be sent."""

    def render(self, content: Any) -> bytes:
        import json

        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def error_response(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    # `type` is there for OpenAI clients, which look for it.
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = {"error": {"code": code, "message": message, "type": kind}}
    return Json(body, status_code=status, headers=dict(headers) if headers else None)


def install(app: FastAPI) -> None:
    """Register the handlers. Exceptions nobody foresaw become a 500 here and a traceback in the log."""

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return error_response(error.status, error.code, str(error), error.headers)

    @app.exception_handler(ValorError)
    async def failed(request: Request, error: ValorError) -> Response:
        if isinstance(error, _CALLERS_FAULT):
            return error_response(400, error.code, str(error))
        logger.warning("%s %s: %s", request.method, request.url.path, error)
        return error_response(503 if isinstance(error, ServiceError) else 502, error.code, str(error))

    @app.exception_handler(HTTPException)
    async def no_route(_: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "request")
        return error_response(error.status_code, code, f"{error.detail}. See / and docs/design/serving.md.")

    @app.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: RequestValidationError) -> Response:
        return error_response(400, "request", str(error))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        return error_response(
            500, "internal", f"Unexpected {type(error).__name__}; the server's log says more."
        )
