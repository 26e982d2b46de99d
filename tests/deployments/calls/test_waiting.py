"""Callers of a part whose replica is gone: who waits, for how long, and what is asked again."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deployments.calls.waiting import MOST_LOSSES, Waiting
from deployments.failures import ReplicaGone
from valor_ray.errors import PolicyError, ServiceError

FOREVER = 3600.0


class Part:
    """A part whose replicas are scripted: `there` says whether one lives; calls and looks while none does are lost."""

    def __init__(self, wait_s: float = FOREVER, there: bool = True) -> None:
        self.there = there
        self.calls: list[str] = []
        self.looks = 0
        self.standing = 0
        self.waiting = Waiting("policy", self._look, wait_s, self._stand)

    async def _look(self) -> None:
        self.looks += 1
        if not self.there:
            raise ReplicaGone("gone")

    @contextmanager
    def _stand(self) -> Iterator[None]:
        self.standing += 1
        try:
            yield
        finally:
            self.standing -= 1

    def ask(self, name: str) -> Coroutine[Any, Any, str]:
        async def call() -> str:
            self.calls.append(name)
            await asyncio.sleep(0)
            if not self.there:
                raise ReplicaGone("gone")
            return name.upper()

        return self.waiting.ask(call)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


def test_a_call_to_a_part_that_is_well_is_made_once() -> None:
    part = Part()
    assert asyncio.run(part.ask("a")) == "A"
    assert (part.calls, part.looks, part.waiting.lost) == (["a"], 0, False)


def test_a_call_that_loses_its_replica_is_made_again_as_it_was() -> None:
    async def run() -> str:
        part = Part(there=False)
        asked = asyncio.create_task(part.ask("seed 7"))
        await until(lambda: part.looks > 0)
        assert part.waiting.lost and part.standing == 1 and part.calls == ["seed 7"]
        part.there = True
        answer = await asked
        assert part.calls == ["seed 7", "seed 7"] and part.standing == 0 and not part.waiting.lost
        return answer

    assert asyncio.run(run()) == "SEED 7"


def test_who_comes_while_no_replica_is_there_asks_nothing_until_one_is() -> None:
    async def run() -> None:
        part = Part(there=False)
        first = asyncio.create_task(part.ask("first"))
        await until(lambda: part.looks > 0)
        others = [asyncio.create_task(part.ask(f"other {n}")) for n in range(20)]
        await until(lambda: part.standing == 21)
        assert part.calls == ["first"]  # one look at a time asks for all
        part.there = True
        assert await first == "FIRST"
        assert await asyncio.gather(*others) == [f"OTHER {n}" for n in range(20)]
        assert len(part.calls) == 22

    asyncio.run(run())


def test_a_call_that_serve_holds_back_waits_too_when_another_finds_the_replica_gone() -> None:
    """Serve's router queues calls while there is no replica: nothing is raised in them."""

    async def run() -> None:
        part, comes = Part(there=False), asyncio.Event()

        async def held() -> str:
            await comes.wait()
            return "late"

        queued = asyncio.create_task(part.waiting.ask(held))
        await asyncio.sleep(0)
        assert part.standing == 0
        lost = asyncio.create_task(part.ask("lost"))
        await until(lambda: part.standing == 2)
        comes.set()
        assert await queued == "late"
        part.there = True
        assert await lost == "LOST"

    asyncio.run(run())


def test_a_held_back_call_ends_at_the_limit_as_any_other() -> None:
    async def run() -> None:
        part = Part(wait_s=0.05, there=False)
        queued = asyncio.create_task(part.waiting.ask(asyncio.Event().wait))
        await asyncio.sleep(0)
        for asked in (asyncio.create_task(part.ask("a")), queued):
            with pytest.raises(ServiceError, match=r"The policy is gone.*0\.05 s \(server\.wait_s\)"):
                await asked
        assert part.standing == 0

    asyncio.run(run())


@pytest.mark.parametrize("wait_s", [0, 0.05])
def test_a_part_that_is_gone_for_good_is_said_at_the_limit(wait_s: float) -> None:
    part = Part(wait_s=wait_s, there=False)
    with pytest.raises(ServiceError, match=r"no successor has come within .*healthz") as caught:
        asyncio.run(part.ask("a"))
    assert not isinstance(caught.value, ReplicaGone) and part.standing == 0


def test_an_error_of_the_model_is_an_answer_and_nothing_is_asked_again() -> None:
    part, calls = Part(), []

    async def call() -> str:
        calls.append(1)
        raise PolicyError("the question does not fit")

    with pytest.raises(PolicyError, match="does not fit"):
        asyncio.run(part.waiting.ask(call))
    assert (len(calls), part.looks) == (1, 0)


def test_a_service_error_that_is_no_lost_replica_is_not_asked_again() -> None:
    part, calls = Part(), []

    async def call() -> str:
        calls.append(1)
        raise ServiceError("the decoder does not start")

    with pytest.raises(ServiceError, match="decoder"):
        asyncio.run(part.waiting.ask(call))
    assert len(calls) == 1


def test_a_call_that_ends_every_replica_it_comes_to_is_given_up() -> None:
    part, calls = Part(), []  # others live: looks are answered

    async def poison() -> str:
        calls.append(1)
        raise ReplicaGone("it died")

    with pytest.raises(ServiceError, match=f"lost {MOST_LOSSES} times while it worked on this request"):
        asyncio.run(part.waiting.ask(poison))
    assert len(calls) == MOST_LOSSES


def test_a_replica_that_answers_with_an_error_when_looked_at_lives() -> None:
    async def run() -> str:
        tries = iter([ReplicaGone("gone"), None])

        async def call() -> str:
            if (error := next(tries)) is not None:
                raise error
            return "answer"

        async def look() -> None:
            raise PolicyError("status is broken")

        return await Waiting("policy", look, FOREVER).ask(call)

    assert asyncio.run(run()) == "answer"


def test_a_call_that_ray_cancelled_is_made_again() -> None:
    async def run() -> str:
        calls: list[int] = []

        async def call() -> str:
            calls.append(1)
            if len(calls) == 1:
                raise asyncio.CancelledError
            return "answer"

        return await Part().waiting.ask(call)

    assert asyncio.run(run()) == "answer"


@pytest.mark.parametrize("there", [True, False])
def test_a_caller_that_goes_takes_its_call_along(there: bool) -> None:
    async def run() -> None:
        part, ended = Part(there=there), asyncio.Event()

        async def call() -> None:
            if not there and not part.looks:
                raise ReplicaGone("gone")
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        asked = asyncio.create_task(part.waiting.ask(call))
        await until(lambda: part.looks > 0 if not there else bool(asyncio.all_tasks()) and part.standing == 0)
        await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert part.standing == 0
        if there:
            await until(ended.is_set)

    asyncio.run(run())


def test_waiting_can_be_refused() -> None:
    @contextmanager
    def full() -> Iterator[None]:
        raise PolicyError("too many")
        yield

    part = Part(there=False)
    part.waiting._standing = full
    with pytest.raises(PolicyError, match="too many"):
        asyncio.run(part.ask("a"))


def test_the_look_is_in_no_callers_name_since_serve_ends_what_is_when_he_hangs_up() -> None:
    async def run() -> None:
        part, request = Part(there=False), contextvars.ContextVar("request", default="nobody's")
        looked: list[str] = []

        async def look() -> None:
            looked.append(request.get())
            await part._look()

        part.waiting = Waiting("policy", look, FOREVER, part._stand)
        request.set("first")
        first = asyncio.create_task(part.ask("first"))
        await until(lambda: bool(looked))
        request.set("second")
        second = asyncio.create_task(part.ask("second"))
        await until(lambda: part.standing == 2)
        first.cancel()
        part.there = True
        assert await second == "SECOND" and set(looked) == {"nobody's"}

    asyncio.run(run())
