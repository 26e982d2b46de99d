"""What load balancers, monitors, browsers and proxies ask of the app."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import httpx
import pytest
from http_app import IMAGE, Ask, Asker, error_of

from deployments.http.app import make_app, make_gate
from deployments.http.endpoints import Parts
from deployments.http.health import Health
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError

BODY = {"image": IMAGE, "question": "How many?"}


@pytest.mark.parametrize("path", ["/healthz", "/health", "/readyz", "/livez", "/healthz/"])
def test_health_under_the_names_that_monitors_use(ask: Ask, path: str) -> None:
    assert ask(path, method="GET").json()["status"] == "ok"
    head = ask(path, method="HEAD")
    assert head.status_code == 200 and head.content == b""


def part(status: str, calls: list[int], asker: Asker) -> Any:
    async def told() -> dict[str, dict[str, Any]]:
        calls.append(1)
        await asyncio.sleep(0.05)
        return {"policy": {"status": status}}

    nothing: Any = None
    return make_app(Config.load(), Parts(nothing, nothing, nothing, nothing, asker.sandbox, told))


def test_a_part_that_is_not_well_is_503_and_the_door_lives(asker: Asker) -> None:
    async def both() -> list[httpx.Response]:
        transport = httpx.ASGITransport(part("unavailable", [], asker))
        async with httpx.AsyncClient(transport=transport, base_url="http://valor") as client:
            return [await client.get(path) for path in ("/readyz", "/livez")]

    ready, live = asker.run(both())
    assert (ready.status_code, ready.json()["status"], live.status_code) == (503, "degraded", 200)


def test_many_monitors_ask_the_parts_once(asker: Asker) -> None:
    calls: list[int] = []

    async def many() -> list[httpx.Response]:
        transport = httpx.ASGITransport(part("ok", calls, asker))
        async with httpx.AsyncClient(transport=transport, base_url="http://valor") as client:
            return await asyncio.gather(*(client.get("/healthz") for _ in range(50)))

    assert {answered.status_code for answered in asker.run(many())} == {200}
    assert len(calls) < 5


def test_parts_are_asked_in_no_monitors_name_so_that_the_first_can_hang_up() -> None:
    async def run() -> None:
        request = contextvars.ContextVar("request", default="nobody's")
        asked: list[str] = []

        async def told() -> dict[str, dict[str, Any]]:
            asked.append(request.get())
            await asyncio.sleep(0.02)
            return {"policy": {"status": "ok"}}

        health = Health(told, make_gate(Config.load()))
        request.set("first")
        first = asyncio.create_task(health.ready())
        await asyncio.sleep(0)
        second = asyncio.create_task(health.ready())
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).status_code == 200 and asked == ["nobody's"]

    asyncio.run(run())


def test_a_slash_at_the_end_changes_nothing(ask: Ask) -> None:
    assert ask("/v1/answer/", BODY).json()["answer"] == 1
    assert ask("/v1/models/valor/", method="GET").json()["id"] == "valor"


def test_a_wrong_method_is_405_with_the_right_ones(ask: Ask) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        assert ask("/v1/answer", method=method).headers["allow"] == "POST"
    posted = ask("/healthz", {})
    assert posted.headers["allow"] == "GET, HEAD" and "GET" in error_of(posted, 405)["message"]


def test_an_unknown_path_says_what_there_is(ask: Ask) -> None:
    error = error_of(ask("/chat/completions", {}), 404)
    assert "/v1/chat/completions" in error["message"] and "base_url" in error["message"]
    for path in ("/" + "x" * 5000, "/%00%0a%ff", "//v1/answer", "/v1/answer/x"):
        assert len(error_of(ask(path, {}), 404)["message"]) < 500


def test_other_origins_are_answered_only_where_the_settings_name_them(asker: Asker, ask: Ask) -> None:
    page = {"origin": "https://page.example"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    assert "access-control-allow-origin" not in ask("/v1/answer", BODY, headers=page).headers
    assert ask("/v1/answer", method="OPTIONS", headers=page | asked).status_code == 405
    named = asker(Config.load("local", ["server.cors_origins=[https://page.example]"]))
    assert named("/v1/answer", method="OPTIONS", headers=page | asked).status_code == 200
    for body in (BODY, {}):
        allowed = named("/v1/answer", body, headers=page).headers["access-control-allow-origin"]
        assert allowed == "https://page.example"
    other = named("/v1/answer", BODY, headers={"origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("origin", ["page.example", "https://page.example/", "https://*.example", "null", ""])
def test_what_is_no_origin_is_said_before_anything_starts(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.cors_origins"):
        Config.load("local", [f"server.cors_origins=['{origin}']"])


def test_preflight_needs_no_token_and_the_request_does(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALOR_TEST_TOKEN", "secret")
    settings = ["server.cors_origins=['*']", "server.token_env=VALOR_TEST_TOKEN"]
    ask = asker(Config.load("local", settings))
    page = {"origin": "https://page.example", "access-control-request-method": "POST"}
    assert ask("/v1/answer", method="OPTIONS", headers=page).status_code == 200
    refused = ask("/v1/answer", BODY, headers=page)
    assert error_of(refused, 401) and refused.headers["access-control-allow-origin"] == "*"
