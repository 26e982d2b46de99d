"""Bodies: read whole before a place is taken, in bytes and time that are bounded."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Request
from http_app import IMAGE, Ask, Asker, error_of
from starlette.requests import ClientDisconnect

from deployments.http.body import HELD, Bodies
from deployments.http.errors import RequestError
from valor_ray.config.service import ServerConfig
from valor_ray.config.tree import Config

BODY = {"image": IMAGE, "question": "How many?"}
JSON = {"content-type": "application/json"}
NEVER = 3600.0


def request(*pieces: bytes | float, headers: dict[str, str] | None = None, ends: bool = True) -> Request:
    """One whose body comes in these pieces, with pauses (seconds) between them; ends: False: the client goes away."""
    waiting = list(pieces)

    async def receive() -> dict[str, Any]:
        while waiting:
            piece = waiting.pop(0)
            if isinstance(piece, bytes):
                return {"type": "http.request", "body": piece, "more_body": bool(waiting) or not ends}
            await asyncio.sleep(piece)
        return {"type": "http.disconnect"}

    named = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "headers": named}, receive)


def read(bodies: Bodies, *requests: Request) -> list[Any]:
    """What each of them, read at the same time, comes to: the body, or the status of its refusal."""

    async def one(request: Request) -> Any:
        try:
            return await bodies.read(request)
        except RequestError as error:
            return error.status

    async def all_() -> list[Any]:
        return await asyncio.gather(*map(one, requests))

    return asyncio.run(all_())


def bodies(max_bytes: int = 100, idle_s: float = 0.2, whole_s: float = 60) -> Bodies:
    return Bodies(max_bytes, ServerConfig(body_idle_s=idle_s, body_s=whole_s))


def test_a_body_is_read_whole_in_whatever_pieces_it_comes() -> None:
    assert read(bodies(), request(b"ab", b"", b"cd")) == [b"abcd"]
    assert read(bodies(), request(b"")) == [b""]


def test_a_body_that_stalls_is_refused_after_the_idle_time() -> None:
    assert read(bodies(), request(NEVER), request(b"ab", NEVER), request(b"ab", b"c", NEVER)) == [408] * 3


def test_a_body_that_trickles_is_refused_after_the_whole_time() -> None:
    trickle = [b"a", 0.02] * 90
    assert read(bodies(idle_s=60, whole_s=0.3), request(*trickle)) == [408]


def test_a_body_that_pauses_and_goes_on_is_read() -> None:
    assert read(bodies(idle_s=30), request(b"ab", 0.3, b"cd")) == [b"abcd"]


def test_a_refused_body_leaves_nothing_behind() -> None:
    reader = bodies()
    assert read(reader, request(b"a" * 90, NEVER), request(b"a" * 101), request(b"a" * 60, b"a" * 60)) == [
        408,
        413,
        413,
    ]
    assert reader._held == 0 and not reader._arriving


def test_who_goes_away_is_no_body() -> None:
    reader = bodies()
    with pytest.raises(ClientDisconnect):
        asyncio.run(reader.read(request(b"ab", ends=False)))
    assert reader._held == 0 and not reader._arriving


def test_those_that_stall_give_way_when_too_much_is_held_and_those_that_send_do_not() -> None:
    stalled = [request(b"a" * 100, 1.0, b"") for _ in range(HELD)]
    slow = request(*[b"b", 0.001] * 60, b"end")
    large = request(0.01, b"c" * 100)
    *early, last, of_slow, of_large = read(bodies(idle_s=60), *stalled, slow, large)
    assert of_slow == b"b" * 60 + b"end" and of_large == b"c" * 100
    assert early[0] == 408 and last == b"a" * 100 and early.count(408) <= 2


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("101", 413),
        ("9" * 5000, 413),
        ("-1", 400),
        ("+5", 400),
        ("5 5", 400),
        ("1e3", 400),
        ("", 400),
        ("٣", 400),
    ],
)
def test_what_content_length_says_is_checked_before_anything_is_read(length: str, status: int) -> None:
    assert read(bodies(), request(NEVER, headers={"content-length": length})) == [status]


def test_two_content_lengths_must_agree(ask: Ask) -> None:
    raw = json.dumps(BODY).encode()
    for lengths, status in (((len(raw),) * 2, 200), ((len(raw), 5), 400)):
        headers = [("content-type", "application/json"), *(("content-length", str(one)) for one in lengths)]
        assert ask("/v1/answer", content=raw, headers=headers).status_code == status


def test_a_compressed_body_is_refused_unread(ask: Ask) -> None:
    for coding in ("gzip", "gzip, gzip", "br", "zstd", "x" * 9000):
        answered = ask(
            "/v1/answer", content=gzip.compress(b"{}"), headers=JSON | {"content-encoding": coding}
        )
        assert "without Content-Encoding" in error_of(answered, 415)["message"]
        assert answered.headers["accept-encoding"] == "identity"
    plain = ask("/v1/answer", content=json.dumps(BODY), headers=JSON | {"content-encoding": "identity"})
    assert plain.status_code == 200


def test_stalled_bodies_take_no_place(asker: Asker) -> None:
    """Three places, 64 requests that stall, and one that does not: it is answered while they wait."""
    config = Config.load("local", ["policy.max_ongoing=1", "server.body_idle_s=60"])

    async def stalls() -> AsyncIterator[bytes]:
        yield b'{"image": "'
        await asyncio.sleep(NEVER)

    async def both() -> tuple[httpx.Response, dict[str, Any]]:
        transport = httpx.ASGITransport(asker.app(config))
        async with httpx.AsyncClient(transport=transport, base_url="http://valor") as client:
            stalled = [
                asyncio.create_task(client.post("/v1/answer", content=stalls(), headers=JSON))
                for _ in range(64)
            ]
            await asyncio.sleep(0)
            answered = await client.post("/v1/answer", json=BODY)
            health = (await client.get("/healthz")).json()
            assert not any(task.done() for task in stalled)
            for task in stalled:
                task.cancel()
            await asyncio.gather(*stalled, return_exceptions=True)
            return answered, health

    answered, health = asker.run(both())
    assert answered.status_code == 200 and health["in_work"] == 0


def test_a_stalled_body_is_told_what_to_do(asker: Asker) -> None:
    ask = asker(Config.load("local", ["server.body_idle_s=0.05"]))

    async def stalls() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(NEVER)

    answered = ask("/v1/answer", content=stalls(), headers=JSON)
    error = error_of(answered, 408)
    assert error["code"] == "timeout" and "1 bytes" in error["message"] and "0.05 s" in error["message"]
    assert answered.headers["connection"] == "close"
