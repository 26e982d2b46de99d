"""A policy replica tells an engine that failed on one request from one that is of no more use, and ends with that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest

from deployments.failures import ReplicaGone
from deployments.parts import policy
from valor_ray.config.tree import Config
from valor_ray.errors import PolicyError, QuestionError
from valor_ray.records import Sampling


class Engine:
    version = "base"
    config = Config.load("local").policy

    def __init__(self, fails: Exception | None, dead: str = "") -> None:
        self.fails, self.dead = fails, dead

    async def generate(self, question: str, *, n: int, seed: int | None, turns: Any = ()) -> list[str]:
        if self.fails is not None:
            raise self.fails
        return [question]

    async def sample(self, questions: list[str], **_: Any) -> list[str]:
        return await self.generate("", n=1, seed=None)

    async def healthy(self) -> None:
        if self.dead:
            raise PolicyError(self.dead)

    def close(self) -> None: ...


ASKED: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "generate": lambda replica: replica.generate("How many?", 1, 7),
    "sample": lambda replica: replica.sample(["How many?"], 1, 7, Sampling(1.0, 1.0, 10), 0.0),
}
LOOKED: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "status": lambda replica: replica.status(),
    "check_health": lambda replica: replica.check_health(),
}


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why replicas have ended themselves."""
    said: list[str] = []

    def end(why: str) -> NoReturn:
        said.append(why)
        raise ReplicaGone(why)

    monkeypatch.setattr(policy, "end_replica", end)
    return said


def replica(engine: Engine) -> Any:
    kind = policy.PolicyDeployment.func_or_class
    made = kind.__new__(kind)
    made._policy, made._seats, made._follower, made._replica = engine, None, None, "r1"
    return made


@pytest.mark.parametrize("how", ASKED)
def test_an_engine_that_fails_on_one_request_goes_on(how: str, ended: list[str]) -> None:
    with pytest.raises(PolicyError, match="does not work"):
        asyncio.run(ASKED[how](replica(Engine(PolicyError("it does not work")))))
    assert ended == []


@pytest.mark.parametrize("how", ASKED)
def test_a_replica_whose_engine_is_of_no_more_use_ends(how: str, ended: list[str]) -> None:
    engine = Engine(PolicyError("The policy engine failed"), dead="The policy engine died.")
    with pytest.raises(ReplicaGone, match="died"):
        asyncio.run(ASKED[how](replica(engine)))
    assert ended == ["The policy engine died."]


@pytest.mark.parametrize("how", ASKED)
def test_a_question_that_does_not_fit_says_nothing_of_the_engine(how: str, ended: list[str]) -> None:
    with pytest.raises(QuestionError):
        asyncio.run(ASKED[how](replica(Engine(QuestionError("too long"), dead="but nobody looks"))))
    assert ended == []


@pytest.mark.parametrize("how", LOOKED)
def test_a_look_finds_an_engine_that_died_while_nobody_asked(how: str, ended: list[str]) -> None:
    asyncio.run(LOOKED[how](replica(Engine(None))))
    assert ended == []
    with pytest.raises(ReplicaGone):
        asyncio.run(LOOKED[how](replica(Engine(None, dead="it hangs"))))
    assert ended == ["it hangs"]
