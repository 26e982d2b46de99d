"""The pictures of requests in work: together they take so much memory and no more, and each gives its share back."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest
from http_app import error_of, healthy, png

from deployments.http.app import make_app, make_gate
from deployments.http.endpoints import Parts
from deployments.http.errors import RequestError
from deployments.http.guard import Gate
from valor_ray.config.tree import Config
from valor_ray.errors import JudgeError
from valor_ray.records import Picture

SMALL = ["policy.max_ongoing=32", "images.max_pixels=10000", "images.max_bytes=1000"]
ASKED = {"image": base64.b64encode(png(100, 100)).decode(), "question": "What colour?"}


class Slow:
    """A Vqa that answers when it may."""

    def __init__(self) -> None:
        self.may, self.asked, self.fails = asyncio.Event(), 0, False

    async def vqa(self, picture: Picture, question: str) -> str:
        self.asked += 1
        await self.may.wait()
        if self.fails:
            raise JudgeError("the endpoint is down")
        return "red"


def app(vqa: Slow) -> tuple[Gate, httpx.AsyncClient]:
    config = Config.load("local", SMALL)
    gate, nothing = make_gate(config), None
    made = make_app(config, Parts(nothing, nothing, nothing, vqa, nothing, healthy), gate)  # type: ignore[arg-type]
    return gate, httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://valor")


async def until(vqa: Slow, many: int) -> None:
    async with asyncio.timeout(60):
        while vqa.asked < many:
            await asyncio.sleep(0.001)


def test_as_many_pictures_as_there_is_room_for_are_worked_on_and_the_next_is_refused() -> None:
    async def run() -> None:
        vqa = Slow()
        gate, client = app(vqa)
        assert gate.limit == 64
        async with client:
            fitting = gate.most_bytes // (4 * len(png(100, 100)) + 30_000)
            assert 16 <= fitting < 64  # the largest pictures take what their files may have, too
            working = [asyncio.create_task(client.post("/v1/vqa", json=ASKED)) for _ in range(fitting)]
            await until(vqa, fitting)
            refused = await client.post("/v1/vqa", json=ASKED)
            assert error_of(refused, 429)["code"] == "overloaded" and refused.headers["retry-after"] == "1"
            vqa.may.set()
            assert {one.status_code for one in await asyncio.gather(*working)} == {200}
            assert gate.held == 0
            assert (await client.post("/v1/vqa", json=ASKED)).status_code == 200

    asyncio.run(run())


def test_a_request_that_fails_or_is_cancelled_holds_nothing() -> None:
    async def run() -> None:
        vqa = Slow()
        gate, client = app(vqa)
        async with client:
            left = asyncio.create_task(client.post("/v1/vqa", json=ASKED))
            await until(vqa, 1)
            assert gate.held > 30_000
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
            assert gate.held == 0
            vqa.fails = True
            vqa.may.set()
            assert (await client.post("/v1/vqa", json=ASKED)).status_code == 502
            broken = ASKED | {"image": base64.b64encode(png(100, 100)[:60]).decode()}
            assert (await client.post("/v1/vqa", json=broken)).status_code == 400
            assert gate.held == 0

    asyncio.run(run())


def test_one_alone_has_room_whatever_the_limits() -> None:
    async def run(*changes: str) -> None:
        images = Config.load("local", changes).images
        gate = make_gate(Config.load("local", changes))
        async with gate.enter():
            gate.hold(4 * images.max_bytes)
            gate.hold(3 * images.max_pixels)

    for changes in ([], ["images.max_bytes=1"], ["images.max_pixels=1"]):
        asyncio.run(run(*changes))


def test_bytes_are_counted_for_the_request_that_holds_them() -> None:
    gate = Gate(4, 100)

    async def request(*sizes: int, wait: Any = None) -> None:
        async with gate.enter():
            for size in sizes:
                gate.hold(size)
            if wait is not None:
                await wait.wait()

    async def run() -> None:
        done = asyncio.Event()
        first = asyncio.create_task(request(20, 50, wait=done))
        await asyncio.sleep(0)
        assert gate.held == 70
        with pytest.raises(RequestError, match="as large as there is room for"):
            await request(10, 21)
        assert gate.held == 70
        await request(30)
        done.set()
        await first
        assert gate.held == 0

    asyncio.run(run())
