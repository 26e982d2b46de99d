"""A row and its record: what is asked of it, and what stands there when scoring fails."""

from __future__ import annotations

import asyncio

import pytest

from valor_ray.errors import JudgeError
from valor_ray.judges.audit import canaries
from valor_ray.reasoning.score_row import FIELDS, canary_row, content_hash, score_row
from valor_ray.records import Head, Reward, Verdict

ROW = {
    "reply_id": "q#1", "query_id": "q", "content": content_hash("How many?", "three"), "question": "How many?",
    "reply": "three", "canary": "",
}  # fmt: skip


async def yes(question: str, reply: str) -> Reward:
    assert (question, reply) == ("How many?", "three")
    return Reward(0.0, {Head.FORMAT: Verdict(False, "no plan")}, seconds=0.25)


def test_record_holds_the_row_and_its_reward() -> None:
    record = asyncio.run(score_row(ROW | {"line": 3}, yes))
    assert {name: record[name] for name in FIELDS} == ROW and "line" not in record
    assert (record["value"], record["format"], record["reasons"]) == (0.0, False, {"format": "no plan"})


def test_failure_of_one_row_is_a_record_and_a_refused_key_is_none() -> None:
    async def fails(question: str, reply: str) -> Reward:
        raise error

    error: Exception = RuntimeError("sandbox gone")
    record = asyncio.run(score_row(ROW, fails))
    assert record == ROW | {"value": None, "error": "RuntimeError: sandbox gone"}
    error = JudgeError("The judge refuses the key.")
    with pytest.raises(JudgeError, match="refuses the key"):
        asyncio.run(score_row(ROW, fails))


def test_canary_has_the_shape_of_a_reply() -> None:
    canary = canaries()[0]
    row = canary_row(canary)
    assert tuple(row) == FIELDS and (row["question"], row["reply"]) == (canary.question, canary.reply)
    assert row["canary"] == canary.canary_id and row["content"] == content_hash(canary.question, canary.reply)


def test_content_hash_tells_question_from_reply() -> None:
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash("How many?", "three") == "77d7f402c2ec0452"  # as in folders of earlier versions
