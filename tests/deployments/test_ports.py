"""What Ray raises becomes an error of ours, with the message alone."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    OwnerDiedError,
    RaySystemError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
    RequestCancelledError,
)

from deployments import ports as remote
from deployments.calls.waiting import MOST_LOSSES, Waiting
from deployments.failures import ReplicaGone
from deployments.ports import (
    RemoteDepth,
    RemoteDetector,
    RemoteJudge,
    RemotePolicy,
    RemoteVqa,
    sign_of_life,
)
from valor_ray.errors import JudgeError, PolicyError, ServiceError, ToolError, ValorError
from valor_ray.images import from_array
from valor_ray.records import Sampling


class Handle:
    """A deployment handle whose every method fails as Ray would."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self.vqa = self.generate = self.detect = self.depth = self.ask = self.status = self

    async def remote(self, *_: Any) -> Any:
        raise self._error


def from_replica(cause: Exception) -> RayTaskError:
    return RayTaskError("vqa", "Traceback: line 1, line 2", cause).as_instanceof_cause()


PICTURE = from_array(np.zeros((4, 4, 3), np.uint8))
# Each part as the front door asks it, and what its model's own failure is.
PARTS: dict[str, tuple[Callable[[Any, Any], Awaitable[Any]], type[ValorError]]] = {
    "policy": (
        lambda handle, waiting: RemotePolicy(handle, waiting=waiting).generate("How many?"),
        PolicyError,
    ),
    "detector": (
        lambda handle, waiting: RemoteDetector(handle, waiting=waiting).detect(PICTURE, ["a"]),
        ToolError,
    ),
    "depth": (lambda handle, waiting: RemoteDepth(handle, waiting=waiting).depth(PICTURE), ToolError),
    "vqa": (lambda handle, waiting: RemoteVqa(handle, waiting=waiting).vqa(PICTURE, "What?"), ToolError),
    "judge": (lambda handle, waiting: RemoteJudge(handle, waiting=waiting).ask([]), JudgeError),
    "status": (lambda handle, waiting: sign_of_life("policy", handle), ServiceError),
}
GONE = {
    "died": ActorDiedError(),
    "not to be reached": ActorUnavailableError("for now", None),
    "its worker": WorkerCrashedError(),
    "its node": NodeDiedError("x"),
    "its memory": OutOfMemoryError("x"),
    "its answer": OwnerDiedError.__new__(OwnerDiedError),
    "no room": BackPressureError(1, 1),
    "not there": DeploymentUnavailableError.__new__(DeploymentUnavailableError),
    "left": ReplicaUnavailableError("x"),
    "engine": from_replica(ReplicaGone("the engine died")),
    "what it asks": from_replica(ActorDiedError()),
}
FAILED = {
    "unforeseen": from_replica(RuntimeError("boom")),
    "of python": from_replica(MemoryError()),
    "in words": from_replica(PolicyError("it does not fit")),
    "of the service": from_replica(ServiceError("the decoder does not start")),
    "cancelled": RequestCancelledError("x"),
    "of Ray itself": RaySystemError(Exception("x")),
}


class Once:
    """In the place of Waiting: hands through what a call raises."""

    async def ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        return await call()


@pytest.mark.parametrize("part", PARTS)
def test_a_replica_that_is_gone_is_told_from_a_model_that_failed(part: str) -> None:
    ask, failure = PARTS[part]
    for name, error in (GONE | FAILED).items():
        with pytest.raises(ValorError) as caught:
            asyncio.run(ask(Handle(error), Once()))  # type: ignore[arg-type]
        assert isinstance(caught.value, ReplicaGone) == (name in GONE), name
        assert "Traceback" not in str(caught.value), name
        if name == "unforeseen":
            assert type(caught.value) is failure and "failed: RuntimeError: boom" in str(caught.value)


@pytest.mark.parametrize("part", [part for part in PARTS if part != "status"])
def test_every_part_waits_for_a_successor_and_no_part_after_an_answer(part: str) -> None:
    ask, _ = PARTS[part]

    def made(error: BaseException) -> int:
        """How often a call that fails so is made."""
        calls: list[int] = []

        class Counted(Handle):
            async def remote(self, *_: Any) -> Any:
                calls.append(1)
                raise error

        async def look() -> None: ...

        with pytest.raises(ValorError):
            asyncio.run(ask(Counted(error), Waiting(part, look, 60)))  # type: ignore[arg-type]
        return len(calls)

    assert {made(error) for error in GONE.values()} == {MOST_LOSSES}
    assert {made(error) for error in FAILED.values()} == {1}


def test_errors_of_ours_keep_their_class_and_words() -> None:
    with pytest.raises(JudgeError, match=r"^the endpoint is down$"):
        asyncio.run(RemoteVqa(Handle(from_replica(JudgeError("the endpoint is down")))).vqa(PICTURE, "What?"))  # type: ignore[arg-type]


class Replaced:
    """A policy whose replica is lost at each call, some seconds after it, until its successor answers."""

    def __init__(self, clock: list[float], *seconds: float) -> None:
        self._clock, self._seconds = clock, list(seconds)
        self.generate = self

    async def remote(self, *_: Any) -> Any:
        if not self._seconds:
            return ["reply"]
        self._clock[0] += self._seconds.pop(0)
        raise BackPressureError(1, 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(remote.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(remote.asyncio, "sleep", sleep)
    return now


def ask(handle: Replaced, *, patient: bool = True) -> Any:
    return asyncio.run(RemotePolicy(handle, patient=patient).generate("How many?"))  # type: ignore[arg-type]


def test_patient_caller_waits_for_the_successor_of_a_lost_replica(clock: list[float]) -> None:
    assert ask(Replaced(clock, *[0.1] * 50)) == ["reply"]
    with pytest.raises(ServiceError):
        ask(Replaced(clock, 0.1), patient=False)


def test_patience_ends_when_no_replica_comes_back(clock: list[float]) -> None:
    with pytest.raises(ServiceError):
        ask(Replaced(clock, *[0.1] * 1000))
    assert 600 < clock[0] < 620


def test_replica_that_is_lost_after_long_work_begins_a_new_patience(clock: list[float]) -> None:
    """A judge that is down for an hour, and then its gateway dies."""
    assert ask(Replaced(clock, 3600.0, 0.1, 3600.0, 0.1)) == ["reply"]


def test_a_batch_that_is_handed_back_is_asked_for_again() -> None:
    """An engine without room gives None, and another replica may have come."""
    answers = [None, None, [["reply"]]]

    async def remote(*asked: object) -> object:
        return answers.pop(0)

    full: Any = SimpleNamespace(sample=SimpleNamespace(remote=remote))
    sampled = RemotePolicy(full).sample(["Why?"], n=1, seed=0, sampling=Sampling(1.0, 1.0, 10))
    assert asyncio.run(sampled) == [["reply"]] and answers == []


def test_a_judge_is_asked_in_no_requests_name_since_verdicts_are_shared() -> None:
    request = contextvars.ContextVar("request", default="nobody's")

    async def answer() -> str:
        return "verdicts"

    async def run() -> None:
        asked: list[str] = []

        def remote(*_: Any) -> Awaitable[str]:
            asked.append(request.get())
            return answer()

        request.set("mine")
        handle: Any = SimpleNamespace(ask=SimpleNamespace(remote=remote))
        assert await RemoteJudge(handle).ask([]) == "verdicts" and asked == ["nobody's"]

    asyncio.run(run())
