"""The HTTP front door as a plain FastAPI app over the four ports: no Ray here, so it is tested and debugged without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.middleware.cors import CORSMiddleware

from deployments.http import chat
from deployments.http.body import Bodies
from deployments.http.endpoints import ENDPOINTS, Door, Endpoint, Parts
from deployments.http.errors import Json, install
from deployments.http.guard import Gate, Lenient, check_token, while_connected
from deployments.http.health import Health
from deployments.http.input import largest
from deployments.http.schema.document import document
from valor_ray.config.tree import Config

BODY_SLACK = 64 * 1024  # bytes for what surrounds the picture: question, field names, multipart boundaries
_HELD = 16  # largest pictures of requests in work, all together
_PAGES = {"/": "page.html", "/docs": "docs.html"}
_PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    # A page is one file and talks to this server only; what a program prints can start nothing in it.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def make_gate(config: Config) -> Gate:
    # Twice what the policy works on at a time: one share in work, one waiting.
    places = 2 * config.policy.max_ongoing * config.policy.replicas
    return Gate(places, _HELD * largest(config.images))


def make_app(config: Config, parts: Parts, gate: Gate | None = None) -> FastAPI:
    """All routes. gate: where the parts let requests wait at one. Raises ConfigError when the token's variable is not
    set."""
    token = config.server.token()
    gate = gate or make_gate(config)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    install(app)
    app.add_middleware(Lenient)
    if config.server.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.server.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    _add_endpoints(app, Door(config, parts, gate), gate, token)
    _add_models(app, token)
    _add_health(app, Health(parts.status, gate))
    _add_pages(app, document(config, ENDPOINTS))
    return app


def _add_endpoints(app: FastAPI, door: Door, gate: Gate, token: str | None) -> None:
    config = door.config
    bodies = Bodies(config.images.max_bytes * 4 // 3 + BODY_SLACK, config.server)

    def add(endpoint: Endpoint) -> None:
        async def guarded(request: Request) -> Response:
            check_token(request, token)
            gate.check()
            body = await bodies.read(request)
            return await while_connected(request, worked(request, body))

        async def worked(request: Request, body: bytes) -> Response:
            async with gate.enter():
                return await endpoint.work(door, request, body)

        app.add_api_route(endpoint.path, guarded, methods=["POST"])

    for endpoint in ENDPOINTS:
        add(endpoint)


def _add_models(app: FastAPI, token: str | None) -> None:
    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        check_token(request, token)
        return Json(chat.models())

    @app.get("/v1/models/{name:path}")
    async def model(request: Request) -> Response:
        check_token(request, token)
        return Json(chat.model(request.path_params["name"]))


def _add_health(app: FastAPI, health: Health) -> None:
    for path in ("/healthz", "/health", "/readyz"):
        app.add_api_route(path, health.ready, methods=["GET"])

    @app.get("/livez")
    async def alive() -> Response:
        return Json({"status": "ok"})


def _add_pages(app: FastAPI, described: dict[str, Any]) -> None:
    def add(path: str, name: str) -> None:
        async def page() -> Response:
            text = Path(__file__).with_name(name).read_text(encoding="utf-8")
            return HTMLResponse(text, headers=_PAGE_HEADERS)

        app.add_api_route(path, page, methods=["GET"])

    for path, name in _PAGES.items():
        add(path, name)

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return Json(described)
