"""The traffic of load.py: questions with the answers that they had when asked alone, and clients that ask them."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx
import numpy as np
from PIL import Image

from valor_ray.images import from_array, to_png
from valor_ray.tabletop.dataset import items

# What the half of the clients ask who ask a part by itself, so that its return shows: path, further fields.
OWN = {
    "detector": ("/v1/detect", {"phrases": ["red cube", "ball"]}),
    "depth": ("/v1/depth", {"format": "png"}),
    "judge": ("/v1/vqa", {"question": "What colour is the largest object?"}),
}
_PATIENCE_S = 300.0
_RELATIVE, _ABSOLUTE = 1e-4, 1e-3  # by which a number may differ: of pixels, metres, answers
_LEVEL = 1.01 / 255  # by which a picture's pixel may
_SHOWN = 10  # failures and wrong answers in the figures


@dataclass(frozen=True)
class Question:
    image: str  # data URI
    question: str
    expected: Any = None  # answer, or the error, when it was asked alone


def questions(scenes: int, side: int | None) -> Iterator[Question]:
    """side: px of JPEGs; None: PNGs as they are rendered."""
    for item in items(scenes, 4242):
        picture = from_array(item.rendering.rgb)
        if side is None:
            kind, data = "png", to_png(picture)
        else:
            buffer = io.BytesIO()
            Image.fromarray(picture.rgb).resize((side, side)).save(buffer, "JPEG", quality=90)
            kind, data = "jpeg", buffer.getvalue()
        image = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        for question, _ in item.questions:
            yield Question(image, question)


def own_answer(reply: httpx.Response) -> Any:
    """What a part itself has answered: of a picture its pixels, 0..1."""
    if reply.headers["content-type"].startswith("image/"):
        return np.asarray(Image.open(io.BytesIO(reply.content))) / 255
    return reply.json()


def alike(one: Any, other: Any) -> bool:
    """The same but for what a model computes otherwise in its last bits, when other pictures are in its batch."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=_LEVEL)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return bool(one == other)


async def asked_alone(url: str, asked: list[Question]) -> list[Question]:
    """The questions with what is answered when few are asked."""
    together = asyncio.Semaphore(2)
    async with httpx.AsyncClient(base_url=url, timeout=_PATIENCE_S) as client:

        async def one(question: Question) -> Question:
            async with together:
                reply = await client.post("/v1/answer", json=body(question))
            reply.raise_for_status()
            return replace(question, expected=said(reply.json()))

        return list(await asyncio.gather(*map(one, asked)))


def body(question: Question) -> dict[str, Any]:
    return {"image": question.image, "question": question.question, "seed": 0}


def said(reply: dict[str, Any]) -> Any:
    return reply["answer"] if reply["error"] is None else reply["error"]


class Served:
    """Clients of a service for a time, and what they met. part: half of them ask it by itself, where it can be."""

    def __init__(self, url: str, asked: list[Question], part: str = "") -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.AsyncClient(base_url=url, timeout=_PATIENCE_S, limits=limits)
        self._asked, self._own = asked, OWN.get(part)
        self._expected: dict[str, Any] = {}  # of the part's own answers, by picture
        self._killed: float | None = None
        self._back: float | None = None  # when the first request was answered that began after the kill
        self.seconds: list[float] = []  # of each answer
        self.statuses: Counter[str] = Counter()
        self.failed: list[str] = []
        self.wrong: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    def note_kill(self) -> None:
        self._killed = time.monotonic()

    def away_s(self) -> float | None:
        """From the kill to the first answer to what was asked after it; None: there was none."""
        if self._killed is None or self._back is None:
            return None
        return round(self._back - self._killed, 1)

    def figures(self) -> dict[str, Any]:
        ordered = sorted(self.seconds)
        return {
            "answers": len(ordered),
            "p50_s": round(statistics.median(ordered), 3) if ordered else None,
            "p99_s": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 3) if ordered else None,
            "statuses": dict(self.statuses),
            "failed": len(self.failed),
            "failures": self.failed[:_SHOWN],
            "wrong": self.wrong[:_SHOWN],
        }

    async def run(self, clients: int, seconds: float) -> None:
        """Until the time is over; requests that are then in work are awaited, and count for nothing but failures."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._ask(number, clients, end) for number in range(clients)))

    async def _ask(self, client: int, clients: int, end: float) -> None:
        for number in itertools.count():
            if time.monotonic() >= end:
                return
            question = self._asked[(client * len(self._asked) // clients + number) % len(self._asked)]
            if self._own is not None and client % 2:
                path, fields = self._own
                await self._one(path, {"image": question.image} | fields, question, end)
            else:
                await self._one("/v1/answer", body(question), question, end)

    async def _one(self, path: str, sent: dict[str, Any], question: Question, end: float) -> None:
        began = time.monotonic()
        try:
            reply = await self._client.post(path, json=sent)
        except httpx.HTTPError as error:
            self.statuses["no reply"] += 1
            self.failed.append(f"{path}: {type(error).__name__}")
            await asyncio.sleep(0.5)
            return
        now = time.monotonic()
        self.statuses[str(reply.status_code)] += 1
        if reply.status_code == 429:
            await asyncio.sleep(float(reply.headers.get("Retry-After", 1)))
            return
        if reply.status_code != 200:
            self.failed.append(f"{path}: {reply.status_code} {reply.text[:200]}")
            await asyncio.sleep(0.5)
            return
        self._check(path, reply, question)
        if now <= end:
            self.seconds.append(now - began)
        own = self._own is None or path != "/v1/answer"
        if self._killed is not None and began > self._killed and self._back is None and own:
            self._back = now

    def _check(self, path: str, reply: httpx.Response, question: Question) -> None:
        if path == "/v1/answer":
            answered, expected = said(reply.json()), question.expected
        else:
            answered = own_answer(reply)
            expected = self._expected.setdefault(f"{path} {question.image}", answered)
        if not alike(answered, expected):
            self.wrong.append(f"{path} {question.question}: {answered!r:.100}, not {expected!r:.100}")
