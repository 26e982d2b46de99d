"""The HTTP front door as a plain FastAPI app over the four ports: no Ray here, so it is tested and debugged without."""

from __future__ import annotations

import base64
import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from deployments.http import chat
from deployments.http.errors import Json, RequestError, install
from deployments.http.guard import BodyLimit, Gate, check_token
from deployments.http.input import read_fields, read_picture
from valor_ray import images
from valor_ray.answer import ProgramRunner, answer, check_question, to_json
from valor_ray.config.tree import Config
from valor_ray.ports import Depth, Detector, Policy, Vqa, version_of
from valor_ray.records import Answer, DepthMap, Picture
from valor_ray.report.kit.depth_colours import colour_depth
from valor_ray.tools import LiveTools, split_phrases

PAGE = Path(__file__).with_name("page.html")
MAX_PHRASES = 64  # a detector's prompt is a few hundred tokens long
BODY_SLACK = 64 * 1024  # bytes for what surrounds the picture: question, field names, multipart boundaries
_PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    # The page is one file and talks to this server only; what a program prints can start nothing in it.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True)
class Parts:
    """What the front door stands before."""

    policy: Policy
    detector: Detector
    depth: Depth
    judge: Vqa
    sandbox: ProgramRunner
    status: Callable[[], Awaitable[dict[str, dict[str, Any]]]]  # of each part: {"status": "ok" | why not, …}


@dataclass(frozen=True)
class Door:
    """The checked steps behind the routes."""

    config: Config
    parts: Parts

    async def picture(self, image: object) -> Picture:
        return await read_picture(image, self.config.images)

    def question(self, question: object) -> str:
        return check_question(question, self.config.server.max_question_chars)

    async def ask(self, picture: Picture, question: str, seed: int | None) -> Answer:
        parts = self.parts
        tools = LiveTools(picture, parts.detector, parts.depth, parts.judge)
        return await answer(question, picture, parts.policy, parts.sandbox, tools, seed=seed)


def make_app(config: Config, parts: Parts) -> FastAPI:
    """All routes. Raises ConfigError when the token's variable is not set."""
    door, token = Door(config, parts), config.server.token()
    # Twice what the policy works on at a time: one share in work, one waiting.
    gate = Gate(2 * config.policy.max_ongoing * config.policy.replicas)
    app = FastAPI(title="valor_ray", docs_url=None, redoc_url=None, openapi_url=None)
    install(app)
    app.add_middleware(BodyLimit, max_bytes=config.images.max_bytes * 4 // 3 + BODY_SLACK)

    def route(path: str, handler: Callable[[Door, Request], Awaitable[Response]]) -> None:
        async def guarded(request: Request) -> Response:
            check_token(request, token)
            async with gate.enter():
                return await handler(door, request)

        app.add_api_route(path, guarded, methods=["POST"])

    route("/v1/answer", _answer)
    route("/v1/detect", _detect)
    route("/v1/depth", _depth)
    route("/v1/vqa", _vqa)
    route("/v1/chat/completions", _chat)

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        check_token(request, token)
        return Json(chat.models())

    @app.get("/healthz")
    async def healthz() -> Response:
        parts_status = await parts.status()
        well = all(part["status"] == "ok" for part in parts_status.values())
        body = {"status": "ok" if well else "degraded", "in_work": gate.inside, "parts": parts_status}
        return Json(body, status_code=200 if well else 503)

    @app.get("/")
    async def page() -> Response:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers=_PAGE_HEADERS)

    return app


async def _answer(door: Door, request: Request) -> Response:
    fields = await read_fields(request, ("image", "question", "seed"))
    question = door.question(_needed(fields, "question"))
    seed = _seed(fields.get("seed"))
    picture = await door.picture(fields.get("image"))
    return Json(to_json(await door.ask(picture, question, seed)))


async def _detect(door: Door, request: Request) -> Response:
    fields = await read_fields(request, ("image", "phrases", "box_threshold"))
    phrases = _phrases(_needed(fields, "phrases"))
    threshold = _threshold(fields.get("box_threshold"))
    picture = await door.picture(fields.get("image"))
    detections = await door.parts.detector.detect(picture, phrases, box_threshold=threshold)
    return Json(
        {
            "detections": [
                {"bbox": list(d.bbox), "label": d.label, "score": round(d.score, 4)} for d in detections
            ],
            "version": version_of(detections),
        }
    )


async def _depth(door: Door, request: Request) -> Response:
    fields = await read_fields(request, ("image", "format"))
    form = fields.get("format", "npy")
    if form not in ("npy", "png"):
        raise RequestError(
            400, "request", "`format` is npy (metres, the default) or png (coloured, to look at)."
        )
    result: DepthMap = await door.parts.depth.depth(await door.picture(fields.get("image")))
    if form == "png":
        coloured = images.from_array(colour_depth(result.depth))
        return Response(images.to_png(coloured), media_type="image/png")
    buffer = io.BytesIO()
    np.save(buffer, result.depth.astype(np.float32))
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Json({"depth": encoded, "focal_px": float(result.focal_px)})


async def _vqa(door: Door, request: Request) -> Response:
    fields = await read_fields(request, ("image", "question"))
    question = door.question(_needed(fields, "question"))
    picture = await door.picture(fields.get("image"))
    return Json({"answer": await door.parts.judge.vqa(picture, question)})


async def _chat(door: Door, request: Request) -> Response:
    asked = await chat.read(request)
    question = door.question(asked.question)
    picture = await door.picture(asked.image)
    return chat.respond(asked, await door.ask(picture, question, asked.seed))


def _needed(fields: dict[str, Any], name: str) -> Any:
    if fields.get(name) is None:
        raise RequestError(400, "request", f"The field `{name}` is missing.")
    return fields[name]


def _phrases(value: object) -> tuple[str, ...]:
    """A list of phrases, or one text with commas between them."""
    texts: Sequence[object] = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise RequestError(
            400, "request", '`phrases` must be a list of texts, for example ["red cube", "sofa"].'
        )
    phrases = split_phrases(",".join(str(text) for text in texts))
    if not phrases or len(phrases) > MAX_PHRASES or any(len(phrase) > 100 for phrase in phrases):
        raise RequestError(
            400, "request", f"Send 1 to {MAX_PHRASES} `phrases` of at most 100 characters each."
        )
    return phrases


def _threshold(value: object) -> float | None:
    if value is None:
        return None
    try:
        threshold = float(value)  # type: ignore[arg-type]  # a multipart form has text here
    except (TypeError, ValueError):
        threshold = -1.0
    if isinstance(value, bool) or not 0 <= threshold <= 1:
        raise RequestError(400, "request", "`box_threshold` must be a number from 0 to 1.")
    return threshold


def _seed(value: object) -> int | None:
    if value is None:
        return None
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal() or int(text) >= 2**31:
        raise RequestError(400, "request", "`seed` must be a whole number from 0 to 2147483647.")
    return int(text)
