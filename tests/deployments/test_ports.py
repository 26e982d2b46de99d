"""What Ray raises becomes an error of ours, with the message alone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from deployments import ports as remote
from deployments.ports import RemotePolicy, RemoteVqa
from valor_ray.errors import JudgeError, PolicyError, ServiceError, ToolError, ValorError
from valor_ray.images import from_array
from valor_ray.records import Sampling


class Handle:
    """A deployment handle whose every method fails as Ray would."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self.vqa = self.generate = self

    async def remote(self, *_: Any) -> Any:
        raise self._error


def from_replica(cause: Exception) -> RayTaskError:
    return RayTaskError("vqa", "Traceback: line 1, line 2", cause).as_instanceof_cause()


@pytest.mark.parametrize(
    ("raised", "seen", "message"),
    [
        (from_replica(JudgeError("the endpoint is down")), JudgeError, "^the endpoint is down$"),
        (from_replica(RuntimeError("boom")), ToolError, "^The judge failed: RuntimeError: boom"),
        (BackPressureError(1, 1), ServiceError, "^The judge cannot be reached"),
        (DeploymentUnavailableError.__new__(DeploymentUnavailableError), ServiceError, "cannot be reached"),
    ],
)
def test_judge_errors(raised: BaseException, seen: type[ValorError], message: str) -> None:
    import numpy as np

    picture = from_array(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValorError, match=message) as caught:
        asyncio.run(RemoteVqa(Handle(raised)).vqa(picture, "What?"))
    assert type(caught.value) is seen


def test_unforeseen_policy_failures_are_policy_errors() -> None:
    with pytest.raises(PolicyError, match=r"^The policy failed: KeyError"):
        asyncio.run(RemotePolicy(Handle(from_replica(KeyError("x")))).generate("How many?"))


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
