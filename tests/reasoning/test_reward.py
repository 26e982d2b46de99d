"""The six rewards: formula, who is asked when, and what a missing verdict does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pyarrow as pa
import pytest

from valor_ray.config.judging import RewardConfig
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, JudgeError
from valor_ray.reasoning.reward import Rewarder, reward, reward_record, reward_value
from valor_ray.reasoning.schema import REWARD_SCHEMA
from valor_ray.records import Head, JudgeReply, JudgeRequest, Usage, Verdict

WELL_FORMED = "<plan>\n1. Count.\n</plan>\n<answer>\nfinal_answer = 1\n</answer>"
WEIGHTS = RewardConfig()


class Judge:
    """Says yes to all, except to the heads told otherwise."""

    def __init__(self, **says: str | None) -> None:
        self.says = says
        self.asked: list[list[str]] = []

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.asked.append([request.head for request in requests])
        await asyncio.sleep(0.01)
        return [self._reply(self.says.get(request.head, "yes")) for request in requests]

    def _reply(self, says: str | None) -> JudgeReply:
        usage = Usage(0.1, 100, 10, 0.01, 1)
        return (
            JudgeReply(None, "the judge is down", usage)
            if says is None
            else JudgeReply({"verdict": says, "reason": "r"}, usage=usage)
        )


def syntax(value: bool | None):
    async def check(code: str) -> Verdict:
        return Verdict(value, "said so")

    return check


def test_formula_over_all_combinations() -> None:
    """R = format x (.3 logic + .1 syntax + .2 attribute + .2 spatial + .2 adherence), written out once more."""
    for bits in itertools.product((False, True), repeat=6):
        f, s, lo, a, sp, ad = bits
        verdicts = {head: Verdict(bit) for head, bit in zip(Head, bits, strict=True)}
        expected = f * (0.3 * lo + 0.1 * s + 0.2 * a + 0.2 * sp + 0.2 * ad)
        assert reward_value(verdicts, WEIGHTS) == pytest.approx(expected)


@pytest.mark.parametrize("head", [head for head in Head if head is not Head.FORMAT])
def test_any_missing_verdict_leaves_no_value(head: Head) -> None:
    verdicts = {each: Verdict(None if each is head else True) for each in Head}
    assert reward_value(verdicts, WEIGHTS) is None


def test_weights_must_sum_to_one() -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        Config.load("local", ["reward.logic=0.5"])
    assert Config.load("local", ["reward.logic=0.2", "reward.syntax=0.2"]).reward.syntax == 0.2


@pytest.mark.parametrize("reply", ["", "no tags", WELL_FORMED * 2, "<plan></plan><answer>x</answer>"])
def test_reply_without_the_format_is_zero_and_nobody_is_asked(reply: str) -> None:
    judge = Judge()
    found = asyncio.run(reward("q", reply, syntax(True), judge, WEIGHTS))
    assert found.value == 0 and judge.asked == [] and set(found.verdicts) == {Head.FORMAT}


def test_all_judges_go_out_together() -> None:
    judge = Judge(spatial="no")
    found = asyncio.run(reward("q", WELL_FORMED, syntax(False), judge, WEIGHTS))
    assert judge.asked == [["logic", "attribute", "spatial", "adherence"]]
    assert found.value == pytest.approx(0.7) and found.verdicts[Head.SPATIAL].reason == "r"


def test_a_judges_failure_is_no_verdict() -> None:
    found = asyncio.run(reward("q", WELL_FORMED, syntax(True), Judge(logic=None), WEIGHTS))
    assert found.value is None and found.verdicts[Head.LOGIC] == Verdict(None, "the judge is down")


def test_equal_replies_are_judged_once_and_missing_ones_again() -> None:
    judge = Judge()
    rewarder = Rewarder(syntax(True), judge, WEIGHTS)

    async def many() -> list[float | None]:
        first = await asyncio.gather(*(rewarder("q", WELL_FORMED) for _ in range(20)))
        return [found.value for found in [*first, await rewarder("q", WELL_FORMED)]]

    assert asyncio.run(many()) == [pytest.approx(1)] * 21 and len(judge.asked) == 1
    asyncio.run(Rewarder(syntax(True), judge, WEIGHTS)("other", WELL_FORMED))
    assert len(judge.asked) == 2
    judge.says = {"logic": None}
    failing = Rewarder(syntax(True), judge, WEIGHTS)

    async def twice() -> None:
        await failing("q", WELL_FORMED)
        await failing("q", WELL_FORMED)

    asyncio.run(twice())
    assert len(judge.asked) == 4


def test_error_reaches_all_who_share_and_is_not_remembered() -> None:
    class Refusing(Judge):
        async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
            self.asked.append([])
            raise JudgeError("refused key")

    judge = Refusing()
    rewarder = Rewarder(syntax(True), judge, WEIGHTS)

    async def both() -> list[object]:
        first = await asyncio.gather(*(rewarder("q", WELL_FORMED) for _ in range(2)), return_exceptions=True)
        return [*first, *await asyncio.gather(rewarder("q", WELL_FORMED), return_exceptions=True)]

    assert all(isinstance(error, JudgeError) for error in asyncio.run(both())) and len(judge.asked) == 2


def test_record_fits_its_schema_and_sums_the_usage() -> None:
    found = asyncio.run(reward("q", WELL_FORMED, syntax(True), Judge(), WEIGHTS))
    record = reward_record(found)
    assert (
        record["calls"] == 4 and record["prompt_tokens"] == 400 and record["cost_usd"] == pytest.approx(0.04)
    )
    rows = pa.Table.from_pylist(
        [record, reward_record(asyncio.run(reward("q", "", syntax(True), Judge(), WEIGHTS)))], REWARD_SCHEMA
    )
    assert rows.column("value").to_pylist() == [pytest.approx(1), 0.0] and rows.column(
        "syntax"
    ).to_pylist() == [True, None]


def test_without_the_format_gate_a_malformed_reply_has_no_reward() -> None:
    verdicts = {Head.FORMAT: Verdict(False)}
    assert reward_value(verdicts, WEIGHTS) == 0
    assert reward_value(verdicts, RewardConfig(format=False)) is None
