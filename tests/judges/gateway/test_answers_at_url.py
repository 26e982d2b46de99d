"""Answers of a run at a URL: in the store before they are used, so that a lost machine costs none."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.judges.gateway import answers as answers_module
from valor_ray.judges.gateway.answers import AnswerStore, StoredAnswer
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.runs.store import objects as objects_module
from valor_ray.runs.store.objects import ObjectStore
from valor_ray.runs.store.place import local_folder

ANSWER = StoredAnswer({"verdict": "yes", "reason": "é"}, "m", 10, 2, 0.5, 1000.0)


@pytest.fixture
def url(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: F811
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "staging"))
    return f"{bucket}/run/judge_cache"


def parts(url: str) -> list[str]:
    return sorted(ObjectStore(url).names("parts"))


def on_a_new_machine(url: str, use: Callable[[Ledger], Awaitable[Any]]) -> Any:
    async def once() -> Any:
        shutil.rmtree(os.environ["VALOR_STAGING"], ignore_errors=True)
        ledger = Ledger(local_folder(url))
        try:
            return await use(ledger)
        finally:
            ledger.close()

    return asyncio.run(once())


def test_a_lost_machine_costs_no_answer(url: str) -> None:
    async def work(ledger: Ledger) -> None:
        assert list(await ledger.claim(["a", "b"], "one")) == [None, None]
        assert await ledger.store("one", {"a": ANSWER}) == ""
        assert await ledger.store("one", {"b": ANSWER}) == ""

    async def again(ledger: Ledger) -> None:
        assert list(await ledger.claim(["a", "b", "c"], "two")) == [ANSWER, ANSWER, None]

    on_a_new_machine(url, work)
    on_a_new_machine(url, again)


def test_answers_of_a_moment_travel_in_one_part(url: str) -> None:
    async def work(ledger: Ledger) -> None:
        await asyncio.gather(*(ledger.store("one", {f"k{n}": ANSWER}) for n in range(200)))

    on_a_new_machine(url, work)
    assert len(parts(url)) <= 3


def test_gateways_on_two_clusters_may_share_a_place(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = AnswerStore(local_folder(url))
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "another"))
    second = AnswerStore(local_folder(url))
    for store, key in ((first, "a"), (second, "b")):
        store.put_many({key: ANSWER})
        store.sent(store.send(store.unsent()), store.unsent())
        store.close()
    assert on_a_new_machine(url, lambda ledger: ledger.claim(["a", "b"], "three")) == [ANSWER, ANSWER]


def test_many_parts_become_one_and_lose_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "_MANY_PARTS", 5)

    async def work(ledger: Ledger) -> None:
        for number in range(8):
            await ledger.store("one", {f"k{number}": ANSWER})

    on_a_new_machine(url, work)
    assert len(parts(url)) == 8
    for _ in range(2):
        asked = on_a_new_machine(url, lambda ledger: ledger.claim([f"k{n}" for n in range(8)], "two"))
        assert list(asked) == [ANSWER] * 8 and len(parts(url)) == 1


def test_what_the_store_refused_comes_there_with_the_next_answer(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects_module, "_PAUSES_S", (0.01,))
    write = ObjectStore.write

    async def work(ledger: Ledger) -> None:
        def refuse(self: ObjectStore, name: str, content: bytes) -> None:
            self._patience_s = 0.05
            self._tried("write", name, lambda: (_ for _ in ()).throw(ConnectionError("gone away")))

        monkeypatch.setattr(ObjectStore, "write", refuse)
        assert "gone away" in await ledger.store("one", {"a": ANSWER})
        assert list(await ledger.claim(["a"], "one")) == [ANSWER]  # here it is
        monkeypatch.setattr(ObjectStore, "write", write)
        assert await ledger.store("one", {"b": ANSWER}) == ""

    async def again(ledger: Ledger) -> None:
        assert list(await ledger.claim(["a", "b"], "two")) == [ANSWER, ANSWER]

    on_a_new_machine(url, work)
    on_a_new_machine(url, again)


def test_what_a_killed_process_had_not_sent_is_sent_by_the_next_one_here(url: str) -> None:
    store = AnswerStore(local_folder(url))
    store.put_many({"a": ANSWER})  # then it was killed
    store.close()

    async def next_one() -> None:
        ledger = Ledger(local_folder(url))
        assert await ledger.store("one", {"b": ANSWER}) == ""
        ledger.close()

    asyncio.run(next_one())
    (part,) = parts(url)
    lines = (ObjectStore(url).read(part) or b"").splitlines()
    assert [json.loads(line)[0] for line in lines] == ["a", "b"]
