"""The traffic of the soak: what is asked, what must come back, and what was counted."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from odd_vlm import answer_to

from valor_ray.config.service import SandboxConfig
from valor_ray.images import from_array, to_png
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.tabletop.dataset import items

HOSTILE = Path(__file__).parents[1] / "program" / "hostile"
ASKERS, STALLED = 4, 16
HARMLESS = "n = len(gd_detect(img_pth, 'red cube'))\nfinal_answer = n * 2"
_PHRASES = ["red cube", "ball"]


def bad_requests(picture: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, what is sent): each is the sender's mistake, and must get a 4xx."""
    question = "How many cubes are there?"
    yield "/v1/answer", {"content": b"{", "headers": {"Content-Type": "application/json"}}
    yield "/v1/answer", {"json": {"question": question}}
    yield "/v1/answer", {"json": {"image": picture[: len(picture) // 2], "question": question}}
    yield "/v1/answer", {"json": {"image": picture, "question": "?" * 100_000}}
    yield "/v1/answer", {"json": {"image": picture, "question": question, "seed": "9" * 5000}}
    yield "/v1/detect", {"json": {"image": picture, "phrases": [f"cube {n}" for n in range(500)]}}
    yield "/v1/detect", {"json": {"image": picture, "phrases": ["\ud800"]}}
    yield "/v1/detect", {"json": {"image": picture, "phrases": ["a"], "box_threshold": "9" * 400}}
    yield "/v1/answer", {"content": b"[" * 200_000, "headers": {"Content-Type": "application/json"}}
    yield "/v1/depth", {"files": {"image": b"\x89PNG\r\n\x1a\n" + b"\0" * 5000}}
    yield "/v1/chat/completions", {"json": {"model": "m" * 1_000_000, "messages": []}}
    yield "/v1/nothing", {"json": {}}


class Traffic:
    """Jobs that run until they are cancelled, and what they met."""

    def __init__(self, url: str, asked: list[tuple[str, str]], expected: list[Any], boxes: list[Any]) -> None:
        self._url, self._asked, self._expected, self._boxes = url, asked, expected, boxes
        self._client = httpx.AsyncClient(base_url=url, timeout=240, limits=httpx.Limits(max_connections=64))
        self._count: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._failing: list[
            dict[str, float]
        ] = []  # of each kill, for how long requests failed after it, seconds
        self._killed: tuple[str, float] | None = None
        self._sandbox = Sandbox(SandboxConfig(wall_seconds=2, cpu_seconds=1, output_kib=16, max_calls=20))

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        return [
            *(self._ask(random.Random(number)) for number in range(ASKERS)),
            self._look(random.Random(ASKERS)),
            *(self._vqa(number) for number in range(2)),
            self._bad(),
            *(self._stall() for _ in range(STALLED)),
            self._programs(),
        ]

    def note_kill(self, part: str) -> None:
        self._killed = (part, time.monotonic())
        self._failing.append({part: 0.0})

    def counts(self) -> dict[str, int]:
        return dict(self._count)

    def found(self) -> dict[str, Any]:
        return {"counts": self.counts(), "wrong": self._wrong[:20], "failing_for_s": self._failing}

    async def close(self) -> None:
        await self._client.aclose()
        await self._sandbox.close()

    async def _post(self, path: str, **sent: Any) -> httpx.Response | None:
        """The reply; None when there was none, as while the front door is dead."""
        try:
            return await self._client.post(path, **sent)
        except httpx.HTTPError as error:
            self._count[f"no reply: {type(error).__name__}"] += 1
            await asyncio.sleep(0.5)
            return None

    async def _ask(self, rng: random.Random) -> None:
        while True:
            number = rng.randrange(len(self._asked))
            image, question = self._asked[number]
            reply = await self._post("/v1/answer", json={"image": image, "question": question, "seed": 0})
            if reply is None:
                continue
            if reply.status_code != 200:
                self._failed("answer", reply)
                await asyncio.sleep(0.5)
            elif reply.json()["answer"] == self._expected[number]:
                self._right("answer")
            elif reply.json()["answer"] is None:
                self._count["answer: none, with an error"] += 1
            else:
                self._wrong.append(f"{question}: {reply.json()['answer']!r}, not {self._expected[number]!r}")

    async def _look(self, rng: random.Random) -> None:
        while True:
            number = rng.randrange(len(self._asked))
            image = self._asked[number][0]
            reply = await self._post("/v1/detect", json={"image": image, "phrases": _PHRASES})
            if reply is not None and reply.status_code == 200:
                same = reply.json()["detections"] == self._boxes[number]
                self._right("detect") if same else self._wrong.append(f"boxes of picture {number}: others")
            elif reply is not None:
                self._failed("detect", reply)
            reply = await self._post("/v1/depth", json={"image": image})
            if reply is not None:
                self._right("depth") if reply.status_code == 200 else self._failed("depth", reply)

    async def _vqa(self, client: int) -> None:
        for number in itertools.count():
            question = f"What is written on note {client}-{number}?"
            image = self._asked[number % len(self._asked)][0]
            reply = await self._post("/v1/vqa", json={"image": image, "question": question})
            if reply is not None and reply.status_code == 200:
                said = reply.json()["answer"]
                self._right("vqa") if said == answer_to(question) else self._wrong.append(
                    f"{question}: {said!r}"
                )
            elif reply is not None:
                self._failed("vqa", reply)

    async def _bad(self) -> None:
        while True:
            for path, sent in bad_requests(self._asked[0][0]):
                if "json" in sent:  # as json.dumps writes it: httpx's own refuses what is tried here
                    sent = {
                        "content": json.dumps(sent["json"]),
                        "headers": {"Content-Type": "application/json"},
                    }
                reply = await self._post(path, **sent)
                if reply is None:
                    continue
                if 400 <= reply.status_code < 500:
                    self._count["bad: refused"] += 1
                elif reply.status_code == 503:
                    self._count["bad: 503"] += 1
                else:
                    self._wrong.append(f"{path} {str(sent)[:80]}: {reply.status_code} {reply.text[:200]}")
                await asyncio.sleep(0.2)

    async def _stall(self) -> None:
        """A body that is announced and never comes whole; whoever is cut off comes back."""
        place = urlsplit(self._url)
        lines = (
            "POST /v1/answer HTTP/1.1",
            "Host: x",
            "Content-Type: application/json",
            "Content-Length: 100000",
        )
        head = "\r\n".join(lines) + "\r\n\r\n{"
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    place.hostname, place.port, family=socket.AF_INET
                )
                writer.write(head.encode())
                await reader.read(1000)
                self._count["stalled: cut off"] += 1
                writer.close()
            except OSError:
                self._count["stalled: refused"] += 1
            await asyncio.sleep(1)

    async def _programs(self) -> None:
        """Hostile programs and harmless ones in turn, in a sandbox of this process."""
        tools = PlaceholderTools((64, 64))
        await self._sandbox.start()
        while True:
            for path in sorted(HOSTILE.glob("*.py")):
                await self._sandbox.run(path.read_text(), tools, (64, 64))
                self._count["hostile programs"] += 1
                result = await self._sandbox.run(HARMLESS, tools, (64, 64))
                if result.status != "ok":
                    self._wrong.append(f"harmless after {path.stem}: {result.status} {result.error}")
                await asyncio.sleep(1)

    def _right(self, what: str) -> None:
        self._count[f"{what}: right"] += 1

    def _failed(self, what: str, reply: httpx.Response) -> None:
        self._count[f"{what}: {reply.status_code}"] += 1
        if self._killed and reply.status_code != 429 and self._killed[0] in reply.text:
            part, at = self._killed
            self._failing[-1][part] = round(time.monotonic() - at, 1)
        if reply.status_code not in (429, 502, 503):
            self._wrong.append(f"{what}: {reply.status_code} {reply.text[:200]}")


async def prepared(url: str, folder: Path) -> Traffic:
    """Asks each question alone first: what comes back then is what must come back under load."""
    asked = []
    for item in items(6, 77):
        image = "data:image/png;base64," + base64.b64encode(to_png(from_array(item.rendering.rgb))).decode()
        asked += [(image, question) for question, _ in item.questions]
    answers, boxes = [], []
    async with httpx.AsyncClient(base_url=url, timeout=240) as client:
        for image, question in asked:
            for _ in range(10):  # the judge is odd
                reply = (
                    await client.post("/v1/answer", json={"image": image, "question": question, "seed": 0})
                ).json()
                if reply["answer"] is not None:
                    break
            answers.append(reply["answer"])
            seen = await client.post("/v1/detect", json={"image": image, "phrases": _PHRASES})
            boxes.append(seen.json()["detections"])
    print(f"answers alone: {answers}", file=sys.stderr)
    return Traffic(url, asked, answers, boxes)
