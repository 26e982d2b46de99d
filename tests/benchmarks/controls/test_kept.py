"""Records of replies on disk: each pair is asked about once, and failures are asked about again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from valor_ray.benchmarks.controls.kept import find_out, known, reply_key
from valor_ray.errors import ServiceError


def find(path: Path, pairs: list[tuple[str, str]], fails: str = "nothing") -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []

    async def found(query_id: str, reply: str) -> dict[str, Any] | str:
        asked.append((query_id, reply))
        return "the judge slept" if reply == fails else {"said": f"{query_id} {reply}"}

    asyncio.run(find_out(path, pairs, found, 3, "replies", lambda line: None))
    return asked


def test_a_pair_is_asked_about_once_and_equal_replies_to_other_questions_are_other_pairs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "deep" / "kept.jsonl"
    assert find(path, [("q1", "a"), ("q2", "a"), ("q1", "a")]) == [("q1", "a"), ("q2", "a")]
    assert find(path, [("q2", "a"), ("q3", "b")]) == [("q3", "b")]
    assert known(path)[reply_key("q2", "a")]["said"] == "q2 a"


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
