"""The offline judge's HTTP routes: bytes in, OpenAI-style replies or error objects out."""

from __future__ import annotations

import asyncio
import hmac
import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from valor_ray.tabletop.judge.boxes.answer import answer_boxes
from valor_ray.tabletop.judge.boxes.noise import Noise
from valor_ray.tabletop.judge.boxes.request import HEADS as BOX_HEADS
from valor_ray.tabletop.judge.boxes.request import BoxRequestError
from valor_ray.tabletop.judge.protocol import (
    JudgeRequest,
    RequestRefused,
    allowed_answers,
    completion,
    decode_data_uri,
    filled_completion,
    parse_request,
    verdict_completion,
)
from valor_ray.tabletop.judge.scenes.oracle import HEADS as SCENE_HEADS
from valor_ray.tabletop.judge.scenes.oracle import fill
from valor_ray.tabletop.judge.text.verdict import judge, turned
from valor_ray.tabletop.judge.vqa import answer

MAX_BODY = 32 * 2**20  # bytes
_log = logging.getLogger(__name__)


def make_app(
    model: str, token: str | None = None, noise: float = 0.0, seed: int = 0, delay_s: float = 0.0
) -> FastAPI:
    """The application; with a token, every route but /healthz wants `Authorization: Bearer TOKEN`.

    noise: share of the verdicts on texts and on boxes that are turned round, and of the answers in made-up scenes that
    are replaced by another, the same ones for the same seed.
    delay_s: wait before each answer.
    """
    app = FastAPI(title="offline judge", docs_url=None, redoc_url=None, openapi_url=None)
    card = {"id": model, "object": "model", "created": 0, "owned_by": "valor-ray"}

    def check_token(request: Request) -> None:
        given = request.headers.get("authorization", "")
        if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise RequestRefused(401, "Missing or wrong bearer token.", code="invalid_api_key")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, object]:
        check_token(request)
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{name}")
    async def one_model(request: Request, name: str) -> dict[str, object]:
        check_token(request)
        if name != model:
            raise RequestRefused(404, f"The model {name!r} does not exist here.", "model", "model_not_found")
        return dict(card)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> dict[str, object]:
        check_token(request)
        body = await _read_body(request)
        asked = parse_request(body, model)
        if delay_s:
            await asyncio.sleep(delay_s)
        if asked.head in SCENE_HEADS:
            return filled_completion(model, asked, fill(asked.head, asked.question, noise, seed))
        if asked.head in BOX_HEADS:
            replied = await asyncio.to_thread(_about_boxes, asked, Noise(noise, seed))
            return filled_completion(model, asked, replied)
        if asked.rgb is None:  # a fraction of a millisecond: not worth a thread
            judged = turned(judge(asked.head, asked.question), asked.head, asked.question, noise, seed)
            return verdict_completion(model, asked, judged)
        said = await asyncio.to_thread(answer, asked.rgb, asked.question, allowed_answers(asked.schema))
        return completion(model, asked, said)

    app.add_exception_handler(RequestRefused, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _crashed)
    return app


def _about_boxes(asked: JudgeRequest, noise: Noise) -> dict[str, object]:
    """The reply to a request about boxes. Raises RequestRefused."""
    try:
        return answer_boxes(asked.head, asked.question, decode_data_uri(asked.pictures[0]), noise)
    except BoxRequestError as error:
        raise RequestRefused(400, str(error), "messages", "invalid_boxes") from error


async def _read_body(request: Request) -> bytes:
    """The whole body, given up as soon as it is longer than MAX_BODY."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            message = f"The request is larger than {MAX_BODY // 2**20} MiB: send a smaller picture."
            raise RequestRefused(413, message, code="request_too_large")
    return bytes(body)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestRefused)
    return JSONResponse(error.body(), error.status)


async def _no_route(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}. Post to /v1/chat/completions."
    return JSONResponse(RequestRefused(error.status_code, message).body(), error.status_code)


async def _crashed(_request: Request, error: Exception) -> JSONResponse:
    _log.error("judge failed", exc_info=error)
    return JSONResponse(RequestRefused(500, f"The judge failed: {type(error).__name__}.").body(), 500)
