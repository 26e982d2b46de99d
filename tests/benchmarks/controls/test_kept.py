"""Records of replies on disk: each pair is asked about once, and failures are asked about again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from valor_ray.benchmarks.controls.kept import find_out, known, reply_key
from valor_ray.errors import ServiceError
from valor_ray.records import Query


def query(query_id: str) -> Query:
    return Query(query_id, "How many?")


def find(path: Path, pairs: list[tuple[str, str]], fails: str = "nothing") -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []

    async def found(query: Query, reply: str) -> dict[str, Any] | str:
        asked.append((query.query_id, reply))
        return "the judge slept" if reply == fails else {"said": f"{query.query_id} {reply}"}

    wanted = [(query(query_id), reply) for query_id, reply in pairs]
    asyncio.run(find_out(path, wanted, found, 3, "replies", lambda line: None))
    return asked


def test_a_pair_is_asked_about_once_and_equal_replies_to_other_questions_are_other_pairs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "deep" / "kept.jsonl"
    assert find(path, [("q1", "a"), ("q2", "a"), ("q1", "a")]) == [("q1", "a"), ("q2", "a")]
    assert find(path, [("q2", "a"), ("q3", "b")]) == [("q3", "b")]
    assert known(path)[reply_key(query("q2"), "a")]["said"] == "q2 a"


def test_more_than_a_hundredth_that_failed_ends_it_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    pairs = [("q", str(n)) for n in range(10)]
    with pytest.raises(ServiceError, match=r"1 of 10 replies failed \(the judge slept\).*asks these again"):
        find(path, pairs, fails="4")
    assert find(path, pairs) == [("q", "4")]


def test_one_in_a_hundred_may_fail(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    find(path, [("q", str(n)) for n in range(100)], fails="4")
    assert len(known(path)) == 99
    assert find(path, [("q", str(n)) for n in range(100)], fails="4") == [
        ("q", "4")
    ]  # of all of them, still one


def test_another_question_or_picture_under_the_same_id_is_another_pair(tmp_path: Path) -> None:
    pictures = [tmp_path / name for name in ("a.png", "b.png", "copy.png")]
    for path, data in zip(pictures, (b"a", b"b", b"a"), strict=True):
        path.write_bytes(data)
    first, other, copy = (Query("1", "How many?", str(path)) for path in pictures)
    assert len({reply_key(one, "x") for one in (first, other, Query("1", "Which?", first.image))}) == 3
    assert reply_key(copy, "x") == reply_key(first, "x")
