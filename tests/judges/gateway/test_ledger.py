"""Answers on disk, claims, and what happens to both when their owner or the disk goes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from valor_ray.errors import JudgeError
from valor_ray.judges.gateway import ledger as ledger_module
from valor_ray.judges.gateway.answers import FILE, AnswerStore, StoredAnswer, request_key
from valor_ray.judges.gateway.ledger import BUSY, Ledger
from valor_ray.records import JudgeRequest

ANSWER = StoredAnswer({"verdict": "yes", "reason": "é"}, "m", 10, 2, 0.5, 1000.0)


def with_ledger(folder: Path, use: Callable[[Ledger], Awaitable[Any]]) -> Any:
    async def once() -> Any:
        ledger = Ledger(folder)
        try:
            return await use(ledger)
        finally:
            ledger.close()

    return asyncio.run(once())


def test_answers_come_back_as_they_were_stored(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.put_many({f"k{i}": ANSWER for i in range(1200)})
    store.put_many({"k0": StoredAnswer({"verdict": "no"}, "m", 0, 0, 0, 0)})  # the first answer stays
    store.close()
    again = AnswerStore(tmp_path)
    answers = again.get_many([f"k{i}" for i in range(1300)])
    assert len(answers) == 1200 == len(again) and answers["k0"] == ANSWER
    again.close()


def test_key_depends_on_everything_that_the_answer_depends_on() -> None:
    def key(
        model: str = "m", head: str = "logic", version: str = "1", text: str = "a", kind: str = "object"
    ) -> str:
        return request_key(
            JudgeRequest(head, version, ({"role": "user", "content": text},), {"type": kind}), model
        )

    keys = [
        key(),
        key("n"),
        key(head="spatial"),
        key(version="2"),
        key(text="b"),
        key(kind="string"),
        key(text="\ud800"),
    ]
    assert len(set(keys)) == len(keys) and key() == keys[0]


def test_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    store = AnswerStore(tmp_path)
    store.put_many({"k": ANSWER})
    assert "set aside" in store.warning and len(list(tmp_path.glob("*.broken-*"))) == 1
    store.close()


def test_folder_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JudgeError, match=r"judge\.cache_dir"):
        AnswerStore(tmp_path / "file" / "below")


def test_full_disk_says_so_and_what_was_stored_stays(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.put_many({"first": ANSWER})
    store._db.execute("PRAGMA max_page_count=1")
    big = StoredAnswer({"reason": "x" * 9000}, "m", 0, 0, 0, 0)
    with pytest.raises(JudgeError, match="Free space"):
        store.put_many({f"b{i}": big for i in range(10)})
    assert set(store.get_many(["first", "b0"])) == {"first"}
    store.close()


_WRITES = """
import sys
from pathlib import Path
from valor_ray.judges.gateway.answers import AnswerStore, StoredAnswer
store = AnswerStore(Path(sys.argv[1]))
for i in range(100000):
    store.put_many({f"k{i}": StoredAnswer({"n": i}, "m", 0, 0, 0, 0)})
    print(i, flush=True)
"""


def test_what_was_stored_survives_kill_9(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITES, str(tmp_path)], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert writer.stdout is not None
    last = [int(writer.stdout.readline()) for _ in range(50)][-1]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    store = AnswerStore(tmp_path)
    assert store.warning == "" and len(store.get_many([f"k{i}" for i in range(last + 1)])) == last + 1
    store.close()


def test_a_claim_is_one_owners_until_it_stores(tmp_path: Path) -> None:
    async def use(ledger: Ledger) -> None:
        assert list(await ledger.claim(["k", "l"], "one")) == [None, None]
        assert list(await ledger.claim(["k"], "two")) == [BUSY]
        waiting = asyncio.create_task(ledger.wait("k", "two"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert await ledger.store("one", {"k": ANSWER}) == ""
        assert await waiting == ANSWER
        assert list(await ledger.claim(["k", "l"], "two")) == [ANSWER, BUSY]

    with_ledger(tmp_path, use)


def test_released_claim_goes_to_exactly_one_of_those_who_wait(tmp_path: Path) -> None:
    async def use(ledger: Ledger) -> None:
        await ledger.claim(["k"], "one")
        waiting = [asyncio.create_task(ledger.wait("k", owner)) for owner in ("two", "three", "four")]
        await asyncio.sleep(0.05)
        await ledger.release("one", ["k"])
        done, pending = await asyncio.wait(waiting, timeout=0.3)
        assert len(done) == 1 and done.pop().result() is None  # now its to ask
        owner = ledger._claims["k"][0]
        await ledger.store(owner, {"k": ANSWER})
        assert [await task for task in pending] == [ANSWER, ANSWER]

    with_ledger(tmp_path, use)


def test_claim_of_an_owner_that_died_is_anybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "CLAIM_S", 0.3)

    async def use(ledger: Ledger) -> None:
        await ledger.claim(["k", "l"], "dies")
        waiting = asyncio.create_task(ledger.wait("k", "two"))
        for _ in range(4):
            await asyncio.sleep(0.1)
            await ledger.renew("lives")
        assert await asyncio.wait_for(waiting, 1) is None
        assert list(await ledger.claim(["l"], "two")) == [None]

    with_ledger(tmp_path, use)


def test_owner_that_renews_keeps_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "CLAIM_S", 0.3)

    async def use(ledger: Ledger) -> None:
        await ledger.claim(["k"], "slow")
        for _ in range(6):
            await asyncio.sleep(0.1)
            await ledger.renew("slow")
        assert list(await ledger.claim(["k"], "two")) == [BUSY]

    with_ledger(tmp_path, use)
