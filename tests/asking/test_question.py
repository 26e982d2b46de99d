"""A question through ports: what is kept of it, and that a part's failure is no answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from valor_ray.asking.kept import Kept
from valor_ray.asking.question import Chain, ask
from valor_ray.errors import JudgeError, ServiceError, ValorError
from valor_ray.images import from_array
from valor_ray.ports import Turn
from valor_ray.records import (
    DepthMap,
    Detection,
    Picture,
    ProgramResult,
    ProgramStatus,
    Reply,
    Reward,
)
from valor_ray.records import ToolCall as Call
from valor_ray.selecting.select import Select
from valor_ray.tools import ToolHost

PICTURE = from_array(np.zeros((10, 20, 3), np.uint8))


def says(code: str) -> str:
    return f"<plan>Look.</plan><answer>{code}</answer>"


@dataclass
class Policy:
    texts: tuple[str, ...]
    seed: int | None = None

    async def generate(
        self, question: str, *, n: int = 1, seed: int | None = None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        self.seed = seed
        if turns:
            return [Reply(says("mended"), (8,), (), "v1", "stop", (1, 2, 3), cost_usd=0.25)]
        return [Reply(text, (5, 6, 7), (), "v1", "stop", (1, 2)) for text in self.texts[:n]]


class Runner:
    """Runs "TOOL" and "TOOL or V" by asking that tool; any other text is the answer."""

    async def run(self, code: str, tools: ToolHost, image_size: tuple[int, int]) -> ProgramResult:
        tool, _, other = code.partition(" or ")
        if tool not in ("gd_detect", "depth", "vqa"):
            return ProgramResult(ProgramStatus.OK, code)
        args = {"prompt": "cup", "bbox": (0, 0, 5, 5)}
        try:
            found, error = await tools(tool, args), None
        except ValorError as failed:
            found, error = None, str(failed)
        calls = (Call(tool, {}, found, 1.0, 1, error),)
        if error is None or other:
            return ProgramResult(ProgramStatus.OK, other or "seen", calls=calls)
        return ProgramResult(ProgramStatus.ERROR, error=error, line=1, calls=calls)


@dataclass
class Eyes:
    error: ValorError | None = None

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        self._fail()
        return []

    async def depth(self, picture: Picture) -> DepthMap:
        self._fail()
        return DepthMap(np.ones((10, 20), np.float32), 20.0)

    async def vqa(self, picture: Picture, question: str) -> str:
        self._fail()
        return "red"


def asked(eyes: Eyes, *texts: str, select: Select = Select.VOTE, repairs: int = 0) -> Kept:
    async def rewarding(question: str, reply: str) -> Reward:
        return Reward(0.75, {}, {})

    chain = Chain(
        Policy(texts), eyes, eyes, eyes, Runner(), 10.0, None if select is Select.VOTE else rewarding
    )
    return asyncio.run(
        ask("What?", PICTURE, chain, seed=3, samples=len(texts), select=select, repairs=repairs)
    )


def test_one_reply_is_kept_with_what_it_took() -> None:
    kept = asked(Eyes(), says("gd_detect"))
    assert json.loads(json.dumps(kept)) == {
        "answer": "seen", "error": None, "status": "ok", "failure": None, "habits": [],
        "well_formed": True, "tokens": [2, 3], "tools": 1, "writer_cost_usd": 0.0,
    }  # fmt: skip


def test_candidates_tell_how_each_went_and_tokens_are_of_all() -> None:
    kept = asked(Eyes(), says("seen"), "I cannot see it", says("gd_detect"), select=Select.JUDGE)
    assert (kept["answer"], kept["tokens"], kept["tools"]) == ("seen", [2, 9], 1)
    assert [(one["failure"], one["habits"], one["score"]) for one in kept["candidates"]] == [
        (None, ["no_tool"], 0.75), ("format", ["refuses"], 0.75), (None, [], 0.75),
    ]  # fmt: skip
    assert kept["selection"]["select"] == "judge"


def test_a_repaired_reply_is_kept_with_its_attempts_and_what_they_took() -> None:
    kept = asked(Eyes(), "I cannot see it", repairs=2)
    assert (kept["answer"], kept["status"], kept["habits"], kept["tokens"]) == (
        "mended",
        "ok",
        ["no_tool"],
        [5, 4],
    )
    (first,) = kept["attempts"]
    assert (first["status"], first["failure"]) == ("malformed", "format") and "<plan>" in first["error"]
    assert (
        kept["repairs"] == {"calls": 1, "tokens": [3, 1], "cost_usd": 0.25}
        and kept["writer_cost_usd"] == 0.25
    )
    several = asked(Eyes(), says("seen"), "no", says("seen"), "no", repairs=1)
    assert several["repairs"] == {"calls": 2, "tokens": [6, 2], "cost_usd": 0.5} and several["tokens"] == [
        8,
        14,
    ]
    assert [len(one.get("attempts", ())) for one in several["candidates"]] == [0, 1, 0, 1]
    assert "repairs" not in asked(Eyes(), says("seen"), repairs=2)


def test_a_failed_part_is_left_unrepaired_and_the_question_open() -> None:
    with pytest.raises(ServiceError, match="gone"):
        asked(Eyes(ServiceError("gone")), says("gd_detect"), repairs=2)


@pytest.mark.parametrize("tool", ["gd_detect", "depth", "vqa or red"])
@pytest.mark.parametrize("error", [ServiceError("gone"), JudgeError("quota")])
def test_a_part_that_fails_is_no_answer_also_where_the_program_has_gone_on(
    tool: str, error: ValorError
) -> None:
    if tool != "vqa or red" and isinstance(error, JudgeError):
        error = ServiceError("gone")
    for texts in ((says(tool),), (says("seen"), says(tool))):
        with pytest.raises(ServiceError, match=str(error)):
            asked(Eyes(error), *texts)
