"""The wire: proxies, redirects, queries, and that no secret comes back in an outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from odd_judge import OK, behaving, fails, replies
from rough_endpoint import endpoint

from valor_ray.config.judging import JudgeConfig
from valor_ray.doctor.listening import free_port
from valor_ray.judges.gateway.call.outcome import HttpKind, HttpOutcome
from valor_ray.judges.gateway.call.transport import Transport, completions_url

SECRET = "s3cr3t-value"


def post(url: str, **changes: Any) -> HttpOutcome:
    config = JudgeConfig.model_validate(
        {"base_url": url, "model": "m", "api_key_env": None, "timeout_s": 30, **changes}
    )

    async def once() -> HttpOutcome:
        transport = Transport(config, config.access("judge"))
        try:
            return await transport.post(b'{"messages": []}')
        finally:
            await transport.close()

    return asyncio.run(once())


def test_an_endpoint_behind_a_proxy_is_asked_through_it_and_a_login_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, str | None]] = []

    async def proxy(n: int, body: Any, request: web.Request) -> web.StreamResponse:
        seen.append((str(request.url), request.headers.get("Proxy-Authorization")))
        return await behaving(OK)(n, body, request)

    with endpoint(proxy) as rough:
        monkeypatch.setenv("http_proxy", rough.url.replace("//", f"//me:{SECRET}@").removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "other.invalid")
        assert post("http://judge.invalid/v1").kind is HttpKind.ANSWERED
        assert post("http://other.invalid/v1").kind is HttpKind.MISNAMED
    assert seen[0][0] == "http://judge.invalid/v1/chat/completions" and str(seen[0][1]).startswith("Basic ")
    assert len(seen) == 1


def test_proxies_that_are_down_or_want_a_login_are_named_and_their_password_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://me:{SECRET}@127.0.0.1:{port}")
    down = post("http://judge.invalid/v1")
    assert down.kind is HttpKind.UNREACHABLE and f"the proxy 127.0.0.1:{port}" in down.text
    assert SECRET not in repr(down)
    with endpoint(behaving(replies(b"", 407))) as rough:
        monkeypatch.setenv("http_proxy", rough.url)
        wants = post("http://judge.invalid/v1")
    assert wants.kind is HttpKind.MISNAMED and "wants a user and a password" in wants.text


def test_a_redirect_takes_no_key_along() -> None:
    with endpoint() as other:
        elsewhere = replies(b"", 307, Location=f"{other.url}/chat/completions")
        with endpoint(behaving(elsewhere)) as rough:
            outcome = post(rough.url)
        assert outcome.kind is HttpKind.MISNAMED and other.url in outcome.text and other.calls == 0


def test_headers_are_sent_and_what_is_secret_in_them_never_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    got: list[str] = []

    async def echo(n: int, body: Any, request: web.Request) -> web.StreamResponse:
        got.append(request.headers["X-Api-Key"] + request.headers["X-Title"])
        return await behaving(fails(400, f"bad header {SECRET}"))(n, body, request)

    with endpoint(echo) as rough:
        outcome = post(rough.url, headers={"X-Api-Key": "Key ${MY_KEY}", "X-Title": "us"})
    assert got == [f"Key {SECRET}us"] and "…" in outcome.text and SECRET not in repr(outcome)


def test_a_key_in_the_address_never_comes_back() -> None:
    async def not_found(n: int, body: Any, request: web.Request) -> web.StreamResponse:
        return await behaving(fails(404, f"{request.path_qs} was not found"))(n, body, request)

    with endpoint(not_found) as rough:
        outcome = post(f"{rough.url}?key={SECRET}&{SECRET}-too")
    assert "/v1/chat/completions?key=…" in outcome.text and SECRET not in repr(outcome)


def test_a_query_stays_behind_the_path() -> None:
    assert (
        completions_url("https://h/openai/d?api-version=1")
        == "https://h/openai/d/chat/completions?api-version=1"
    )
    assert completions_url("https://me:x@h:8/v1/") == "https://h:8/v1/chat/completions"
