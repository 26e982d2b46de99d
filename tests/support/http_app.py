"""The HTTP app without Ray: real parsing, tools and sandbox behind it; scripted ports in place of the models."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from PIL import Image

from deployments.http.app import make_app
from deployments.http.endpoints import Parts
from valor_ray.config.tree import Config
from valor_ray.errors import JudgeError, PolicyError, ServiceError
from valor_ray.ports import Versioned
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import DepthMap, Detection, Picture, Reply

COUNT = """<plan>Count the cubes.</plan><answer>
found = gd_detect(img_pth, "red cube")
print(depth(img_pth, found[0]["bbox"]))
final_answer = len(found)
</answer>"""


class Policy:
    def __init__(self, text: str) -> None:
        self.text = text

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        if question == "fail":
            raise PolicyError("the engine died")
        if question == "wait":
            await asyncio.sleep(1)
        return [Reply(self.text, (5, 6, 7, 8), (-0.1,) * 4, "v0", "stop", prompt_ids=(1, 2, 3))] * n


class Detector:
    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        boxes = (Detection((1.0, 2.0, 9.0, 9.0), phrase, box_threshold or 0.35) for phrase in phrases)
        return Versioned(boxes if phrases != ("nothing",) else (), "step-000003")


class Depth:
    async def depth(self, picture: Picture) -> DepthMap:
        depth = np.full(picture.rgb.shape[:2], 2.0, dtype=np.float32)
        depth[0] = np.inf
        return DepthMap(depth, 100.0)


class Vqa:
    async def vqa(self, picture: Picture, question: str) -> str:
        if question == "fail":
            raise JudgeError("the endpoint is down")
        if question == "crash":
            raise RuntimeError("unforeseen")
        if question == "restart":
            raise ServiceError("the judge is being restarted")
        return "red"


async def healthy() -> dict[str, dict[str, Any]]:
    return {"policy": {"status": "ok", "version": "v0"}}


def png(width: int = 20, height: int = 10) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


IMAGE = "data:image/png;base64," + base64.b64encode(png()).decode()
Ask = Callable[..., httpx.Response]


class Asker:
    """Apps over one sandbox, and what sends requests to them; the sandbox starts with the first program."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.sandbox = Sandbox(Config.load().sandbox)

    def app(self, config: Config | None = None, reply: str = COUNT) -> FastAPI:
        parts = Parts(Policy(reply), Detector(), Depth(), Vqa(), self.sandbox, healthy)
        return make_app(config or Config.load(), parts)

    def __call__(self, config: Config | None = None, reply: str = COUNT) -> Ask:
        """A function that sends one request, or several at once when given several bodies."""
        transport = httpx.ASGITransport(self.app(config, reply), raise_app_exceptions=False)

        def send(path: str, *bodies: Any, method: str = "POST", **options: Any) -> Any:
            async def run() -> list[httpx.Response]:
                async with httpx.AsyncClient(transport=transport, base_url="http://valor") as client:
                    requests = [{"json": body} | options for body in bodies] or [options]
                    return await asyncio.gather(*(client.request(method, path, **r) for r in requests))

            responses = self.run(run())
            return responses[0] if len(responses) == 1 else responses

        return send

    def run(self, work: Any) -> Any:
        return self._runner.run(work)


@contextmanager
def asking() -> Iterator[Asker]:
    with asyncio.Runner() as runner:
        asker = Asker(runner)
        yield asker
        runner.run(asker.sandbox.close())


def error_of(response: httpx.Response, status: int) -> dict[str, str]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] and error["message"]
    return error


def chat(**changes: Any) -> dict[str, Any]:
    content = [
        {"type": "text", "text": "How many red cubes?"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]
    return {"model": "valor", "messages": [{"role": "user", "content": content}]} | changes
