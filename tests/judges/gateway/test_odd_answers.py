"""Answers that no row can hold, and rows that are spoilt: the others of their batch are kept."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from valor_ray.judges.gateway.answers import FILE, AnswerStore, StoredAnswer, Taken, taken
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.records import Usage

ANSWER = StoredAnswer({"verdict": "yes", "reason": "é"}, "m", 10, 2, 0.5, 1000.0)
ODD: list[dict[str, Any]] = [
    {"prompt_tokens": 10**30},
    {"completion_tokens": -(10**30)},
    {"prompt_tokens": None},
    {"prompt_tokens": [1]},
    {"content": {"reason": "half \ud800"}},
    {"content": {"reason": b"bytes"}},
    {"content": 3},
    {"model": "half \udfff"},
    {"cost_usd": {}},
]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_one_odd_answer_costs_no_other_and_no_transaction_stays_open(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    store = AnswerStore(tmp_path)
    batch = {f"k{i}": ANSWER for i in range(20)} | {"odd": replace(ANSWER, **odd)}
    assert "1 of 21 answers cannot be stored" in store.put_many(batch)
    assert not store._db.in_transaction and store.put_many({"next": ANSWER}) == ""
    store.close()
    again = AnswerStore(tmp_path)
    assert set(again.get_many([*batch, "next"])) == {*batch, "next"} - {"odd"}
    again.close()


def test_the_ledger_warns_and_lets_everybody_go_on(tmp_path: Path) -> None:
    async def use() -> None:
        ledger = Ledger(tmp_path)
        await ledger.claim(["a", "b"], "one")
        assert "cannot be stored" in await ledger.store(
            "one", {"a": ANSWER, "b": replace(ANSWER, prompt_tokens=10**30)}
        )
        assert list(await ledger.claim(["a", "b"], "two")) == [ANSWER, None]
        ledger.close()

    asyncio.run(use())


@pytest.mark.parametrize("content", ["{", "[1]", "3", "null", '"text"', "[" * 5000])
def test_a_spoilt_row_is_asked_again_and_then_kept(tmp_path: Path, content: str) -> None:
    store = AnswerStore(tmp_path)
    store.put_many({"good": ANSWER, "spoilt": ANSWER})
    store._db.execute("UPDATE answers SET content = ? WHERE key = 'spoilt'", (content,))
    assert set(store.get_many(["good", "spoilt"])) == {"good"}
    store.put_many({"spoilt": ANSWER})
    assert store.get_many(["spoilt"]) == {"spoilt": ANSWER}
    store.close()


def test_what_a_model_took_counts_tries_for_nothing(tmp_path: Path) -> None:
    async def use() -> None:
        ledger = Ledger(tmp_path)
        await ledger.store("one", {"a": ANSWER, "b": ANSWER, "other": replace(ANSWER, model="n")})
        await ledger.paid_for_nothing("m", Usage(prompt_tokens=20, completion_tokens=2, cost_usd=0.25))
        assert (await ledger.status())["answers"] == 3
        ledger.close()

    assert taken(tmp_path, "m") is None and not (tmp_path / FILE).exists()
    asyncio.run(use())
    assert taken(tmp_path, "m") == Taken(2, 20.0, 3.0)
    assert taken(tmp_path, "unknown") is None
    store = AnswerStore(tmp_path)
    assert store.spent_usd("m") == 1.25 and store.spent_usd("unknown") == 0
    store.close()
    (tmp_path / FILE).write_bytes(b"no database")
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(tmp_path / FILE).execute("SELECT 1 FROM answers")
    assert taken(tmp_path, "m") is None
