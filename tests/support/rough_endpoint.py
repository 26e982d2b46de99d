"""An OpenAI-compatible endpoint over real HTTP that misbehaves as told, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Behave = Callable[[int, dict[str, Any], web.Request], Awaitable[web.StreamResponse]]
YES = json.dumps({"reason": "it holds", "verdict": "yes"})


@dataclass
class Rough:
    """What the endpoint got, and how it behaves: `behave(n, body, request)` for the n-th call from 0."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self.bodies)


def said(content: str | None, **more: Any) -> web.Response:
    message = {"role": "assistant", "content": content, **more}
    return web.json_response(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }
    )


def failed(status: int, text: str = "no", **headers: str) -> web.Response:
    body = {"error": {"message": text, "type": "x", "param": None, "code": None}}
    return web.json_response(body, status=status, headers=headers)


async def yes(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    return said(YES)


@contextmanager
def endpoint(behave: Behave = yes, port: int = 0) -> Iterator[Rough]:
    rough = Rough()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        rough.bodies.append(body)
        rough.times.append(loop.time())
        return await behave(rough.calls - 1, body, request)

    async def serve() -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        rough.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield rough
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
