"""The front door while a part has no replica: who waits keeps nobody else out, and leaves when his caller does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from http_app import COUNT, IMAGE, Asker, Depth, Detector, Policy, Vqa, error_of, healthy

from deployments.calls.waiting import Waiting
from deployments.failures import ReplicaGone
from deployments.http.app import make_app, make_gate
from deployments.http.endpoints import Parts
from deployments.http.guard import Gate
from valor_ray.config.tree import Config
from valor_ray.records import Detection, Picture, Reply

ASKED = {"image": IMAGE, "question": "How many red cubes?", "seed": 7}
PHRASES = {"image": IMAGE, "phrases": ["red cube"]}


@dataclass
class Replicas:
    """Those of one part, of which there may be none."""

    there: bool
    asked: list[Any] = field(default_factory=list)

    async def look(self) -> None:
        if not self.there:
            raise ReplicaGone("gone")

    async def answer(self, asked: Any, result: Callable[[], Awaitable[Any]]) -> Any:
        self.asked.append(asked)
        await self.look()
        return await result()


class Service:
    """The app over a policy and a detector that can be gone."""

    def __init__(self, asker: Asker, *changes: str, policy: bool = True, detector: bool = True) -> None:
        config = Config.load("local", changes)
        self.gate: Gate = make_gate(config)
        self.policy, self.detector = Replicas(policy), Replicas(detector)
        waits = [
            Waiting(name, part.look, config.server.wait_s, self.gate.stand)
            for name, part in (("policy", self.policy), ("detector", self.detector))
        ]
        policy_waits, detector_waits = waits
        service = self

        class WaitingPolicy(Policy):
            async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
                async def reply() -> list[Reply]:
                    return await Policy.generate(self, question, n=n, seed=seed)

                return await policy_waits.ask(lambda: service.policy.answer((question, n, seed), reply))

        class WaitingDetector(Detector):
            async def detect(
                self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
            ) -> list[Detection]:
                async def boxes() -> list[Detection]:
                    return await Detector.detect(self, picture, phrases)

                return await detector_waits.ask(lambda: service.detector.answer(phrases, boxes))

        parts = Parts(WaitingPolicy(COUNT), WaitingDetector(), Depth(), Vqa(), asker.sandbox, healthy)
        self.app: FastAPI = make_app(config, parts, self.gate)

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://valor")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


def test_questions_wait_for_the_successor_and_are_asked_as_they_were(asker: Asker) -> None:
    service = Service(asker, policy=False)

    async def run() -> list[httpx.Response]:
        async with service.client() as client:
            asked = [asyncio.create_task(client.post("/v1/answer", json=ASKED)) for _ in range(8)]
            await until(lambda: service.gate.standing == 8)
            assert service.gate.inside == 0
            service.policy.there = True
            return await asyncio.gather(*asked)

    responses = asker.run(run())
    assert [response.json()["answer"] for response in responses] == [1] * 8
    assert set(service.policy.asked) == {("How many red cubes?", 1, 7)}
    assert (service.gate.inside, service.gate.standing) == (0, 0)


def test_a_program_waits_for_its_tool_and_is_run_once(asker: Asker) -> None:
    service = Service(asker, detector=False)

    async def run() -> httpx.Response:
        async with service.client() as client:
            asked = asyncio.create_task(client.post("/v1/answer", json=ASKED))
            await until(lambda: service.gate.standing == 1)
            service.detector.there = True
            return await asked

    body = asker.run(run()).json()
    assert body["answer"] == 1 and [call["tool"] for call in body["trace"]] == ["gd_detect", "depth"]
    assert len(service.policy.asked) == 1


def test_a_part_that_stays_away_is_said_after_the_limit(asker: Asker) -> None:
    service = Service(asker, "server.wait_s=0.02", policy=False)

    async def run() -> httpx.Response:
        async with service.client() as client:
            return await client.post("/v1/answer", json=ASKED)

    error = error_of(asker.run(run()), 503)
    assert error["code"] == "service" and "server.wait_s" in error["message"]
    assert (service.gate.inside, service.gate.standing) == (0, 0)


@pytest.mark.parametrize("samples", [1, 3])
def test_a_tool_that_stays_away_is_no_answer_whatever_the_program_makes_of_it(
    asker: Asker, samples: int
) -> None:
    service = Service(asker, "server.wait_s=0.02", detector=False)

    async def run() -> httpx.Response:
        async with service.client() as client:
            return await client.post("/v1/answer", json=ASKED | {"samples": samples})

    assert "detector is gone" in error_of(asker.run(run()), 503)["message"]


def test_who_waits_keeps_out_nobody_who_asks_another_part(asker: Asker) -> None:
    service = Service(asker, "policy.max_ongoing=1", policy=False)  # two places, two to wait in

    async def run() -> None:
        async with service.client() as client:
            waiting = [asyncio.create_task(client.post("/v1/answer", json=ASKED)) for _ in range(2)]
            await until(lambda: service.gate.standing == 2)
            health = (await client.get("/healthz")).json()
            assert (health["in_work"], health["waiting"]) == (0, 2)
            assert (await client.post("/v1/detect", json=PHRASES)).status_code == 200
            refused = await client.post("/v1/answer", json=ASKED)
            assert error_of(refused, 429)["code"] == "overloaded" and refused.headers["retry-after"] == "1"
            assert "wait" in refused.json()["error"]["message"] and service.gate.standing == 2
            service.policy.there = True
            assert [one.status_code for one in await asyncio.gather(*waiting)] == [200, 200]

    asker.run(run())


def test_a_tool_for_which_too_many_wait_is_a_429_and_no_answer(asker: Asker) -> None:
    service = Service(asker, "policy.max_ongoing=1", detector=False)

    async def run() -> None:
        async with service.client() as client:
            waiting = [asyncio.create_task(client.post("/v1/detect", json=PHRASES)) for _ in range(2)]
            await until(lambda: service.gate.standing == 2)
            assert error_of(await client.post("/v1/answer", json=ASKED), 429)["code"] == "overloaded"
            service.detector.there = True
            assert [one.status_code for one in await asyncio.gather(*waiting)] == [200, 200]

    asker.run(run())


def test_waiting_ends_when_the_caller_hangs_up(asker: Asker) -> None:
    """As uvicorn and Serve tell it: an ASGI message after the body."""
    service = Service(asker, policy=False)
    gone = asyncio.Event()
    sent: list[Any] = []

    async def run() -> None:
        request = httpx.Request("POST", "http://valor/v1/answer", json=ASKED)
        body = [{"type": "http.request", "body": request.read(), "more_body": False}]

        async def receive() -> Any:
            if body:
                return body.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/v1/answer", "raw_path": b"/v1/answer", "query_string": b"", "root_path": "",
            "headers": [(key.lower(), value) for key, value in request.headers.raw],
            "server": ("valor", 80), "client": ("1.2.3.4", 5),
        }  # fmt: skip
        asked = asyncio.ensure_future(service.app(scope, receive, send))  # type: ignore[arg-type]
        await until(lambda: service.gate.standing == 1)
        gone.set()
        await asked

    asker.run(run())
    assert (service.gate.inside, service.gate.standing) == (0, 0)
    assert sent[0]["status"] == 499
