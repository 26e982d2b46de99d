"""The rewards: formula, who is asked when, and what a missing verdict does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pyarrow as pa
import pytest

from valor_ray.config.judging import RewardConfig
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, JudgeError
from valor_ray.reasoning.reward import Rewarder, lasting, reward, reward_record, reward_value
from valor_ray.reasoning.scenes.check import SceneVerdict
from valor_ray.reasoning.schema import REWARD_SCHEMA
from valor_ray.records import Head, JudgeReply, JudgeRequest, Usage, Verdict

WELL_FORMED = "<plan>\n1. Count.\n</plan>\n<answer>\nfinal_answer = 1\n</answer>"
WEIGHTS = RewardConfig()
PAPER = [head for head in Head if head is not Head.SCENES]
SCENES_ONLY = RewardConfig(logic=0, syntax=0.1, attribute=0, spatial=0, adherence=0, scenes=0.9)


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
        verdicts = {head: Verdict(bit) for head, bit in zip(PAPER, bits, strict=True)}
        expected = f * (0.3 * lo + 0.1 * s + 0.2 * a + 0.2 * sp + 0.2 * ad)
        assert reward_value(verdicts, WEIGHTS) == pytest.approx(expected)


def test_formula_with_scenes_and_without_the_text_heads() -> None:
    for f, s, sc in itertools.product((False, True), repeat=3):
        verdicts = {Head.FORMAT: Verdict(f), Head.SYNTAX: Verdict(s), Head.SCENES: Verdict(sc)}
        assert reward_value(verdicts, SCENES_ONLY) == pytest.approx(f * (0.1 * s + 0.9 * sc))


def test_head_that_is_left_out_leaves_its_weight_to_the_others() -> None:
    some = RewardConfig(logic=0.2, syntax=0.1, attribute=0.1, spatial=0.05, adherence=0.05, scenes=0.5)
    verdicts = {head: Verdict(head is not Head.LOGIC) for head in PAPER}
    assert reward_value(verdicts, some, (Head.SCENES,)) == pytest.approx(0.6)  # (0.5 - 0.2) / 0.5
    assert reward_value(verdicts | {Head.SCENES: Verdict(True)}, some) == pytest.approx(0.8)
    every = {head: Verdict(True) for head in PAPER}
    assert reward_value(every, some, (Head.SCENES,)) == 1.0
    assert reward_value({Head.FORMAT: Verdict(False)}, some, (Head.SCENES,)) == 0
    assert reward_value(verdicts | {Head.LOGIC: Verdict(None)}, some, (Head.SCENES,)) is None


@pytest.mark.parametrize("head", [head for head in Head if head is not Head.FORMAT])
def test_any_missing_verdict_that_counts_leaves_no_value(head: Head) -> None:
    verdicts = {each: Verdict(None if each is head else True) for each in Head}
    every = RewardConfig(logic=0.2, syntax=0.1, attribute=0.1, spatial=0.1, adherence=0.2, scenes=0.3)
    assert reward_value(verdicts, every) is None
    assert (reward_value(verdicts, WEIGHTS) is None) == (head is not Head.SCENES)  # which has no weight there


def test_weights_must_sum_to_one() -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        Config.load("local", ["reward.logic=0.5"])
    assert Config.load("local", ["reward.logic=0.2", "reward.syntax=0.2"]).reward.syntax == 0.2
    with pytest.raises(ConfigError, match="sum to 1"):
        Config.load("local", ["reward.scenes=0.5"])
    halved = ["reward.scenes=0.5", "reward.logic=0.1", "reward.attribute=0.1", "reward.spatial=0.1"]
    assert Config.load("local", [*halved, "reward.adherence=0.1"]).reward.scenes == 0.5


def test_scenes_must_leave_something_to_others() -> None:
    none = [f"reward.{head}=0" for head in ("logic", "syntax", "attribute", "spatial", "adherence")]
    with pytest.raises(ConfigError, match=r"scenes must leave at least 0\.01"):
        Config.load("local", [*none, "reward.scenes=1"])
    with pytest.raises(ConfigError, match=r"scenes must leave at least 0\.01"):
        Config.load("local", [*none[:-1], "reward.adherence=0.001", "reward.scenes=0.999"])


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


def test_head_of_weight_zero_is_asked_by_nobody() -> None:
    async def never(code: str) -> Verdict:
        raise AssertionError

    judge = Judge()
    some = RewardConfig(logic=0.5, syntax=0, attribute=0, spatial=0.5, adherence=0)
    given = asyncio.run(reward("q", WELL_FORMED, never, judge, some))
    assert judge.asked == [["logic", "spatial"]] and given.value == 1
    assert set(given.verdicts) == {Head.FORMAT, Head.LOGIC, Head.SPATIAL}
    record = reward_record(given)
    assert record["adherence"] is None and "adherence" not in record["reasons"]


class Scenes:
    """scenes.check.SceneTests that always says the same."""

    def __init__(self, verdict: Verdict | None) -> None:
        self.given = verdict
        self.prepared: list[str] = []

    async def prepare(self, question: str) -> None:
        self.prepared.append(question)
        raise JudgeError("refused key")

    async def verdict(self, question: str, code: str) -> SceneVerdict:
        assert (question, code) == ("q", "final_answer = 1")
        return SceneVerdict(self.given, Usage(0.5, 30, 3, 0.002, 3, model="m"), '{"kept": [1]}')


@pytest.mark.parametrize(("verdict", "value"), [(True, 1.0), (False, 0.1)])
def test_scene_tests_in_place_of_the_text_heads_ask_no_text_head(verdict: bool, value: float) -> None:
    judge = Judge()
    given = asyncio.run(
        reward("q", WELL_FORMED, syntax(True), judge, SCENES_ONLY, Scenes(Verdict(verdict, "why", "m")))
    )
    assert judge.asked == [] and given.value == pytest.approx(value) and given.left_out == ()
    record = reward_record(given)
    assert (record["scenes"], record["calls"], record["scene_test"]) == (verdict, 3, '{"kept": [1]}')
    assert record["reasons"]["scenes"] == "why" and record["latency_s"] == {"scenes": 0.5}


def test_question_without_scenes_is_rewarded_by_the_others() -> None:
    given = asyncio.run(reward("q", WELL_FORMED, syntax(True), Judge(), SCENES_ONLY, Scenes(None)))
    assert given.value == 1 and given.left_out == (Head.SCENES,) and lasting(given)
    record = reward_record(given)
    assert (
        record["left_out"] == ("scenes",) and record["scenes"] is None and "scenes" not in record["reasons"]
    )
    pa.Table.from_pylist([record], REWARD_SCHEMA)


def test_undecided_scenes_are_missing_for_good_and_a_judges_failure_is_not() -> None:
    open_ = Verdict(None, "undecided: 3 of 8", undecided=True)
    undecided = asyncio.run(reward("q", WELL_FORMED, syntax(True), Judge(), SCENES_ONLY, Scenes(open_)))
    assert undecided.value is None and lasting(undecided)
    failed = asyncio.run(reward("q", WELL_FORMED, syntax(True), Judge(), SCENES_ONLY, Scenes(Verdict(None))))
    assert failed.value is None and not lasting(failed)
    both = asyncio.run(reward("q", WELL_FORMED, syntax(None), Judge(), SCENES_ONLY, Scenes(open_)))
    assert not lasting(both)


def test_preparing_questions_waits_for_nobody_and_its_error_comes_with_the_verdict() -> None:
    scenes = Scenes(Verdict(True))

    async def prepared(rewarder: Rewarder) -> None:
        rewarder.prepare(["a", "b"])
        await asyncio.sleep(0.01)

    asyncio.run(prepared(Rewarder(syntax(True), Judge(), SCENES_ONLY, scenes)))
    assert scenes.prepared == ["a", "b"]
    asyncio.run(prepared(Rewarder(syntax(True), Judge(), WEIGHTS)))


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


def test_judging_ends_when_all_who_wait_for_it_have_hung_up() -> None:
    checked: list[str] = []

    async def slow(code: str) -> Verdict:
        await asyncio.sleep(0.05)
        checked.append(code)
        return Verdict(True, "said so")

    async def run() -> None:
        judge = Judge()
        rewarder = Rewarder(slow, judge, WEIGHTS)
        first, second, other = (
            asyncio.create_task(rewarder("q", reply))
            for reply in (WELL_FORMED, WELL_FORMED, f"{WELL_FORMED}\n")
        )
        await asyncio.sleep(0.01)
        first.cancel()
        other.cancel()
        assert (await second).value == pytest.approx(1)  # shared with the first, who has hung up
        await asyncio.sleep(0.05)
        assert len(judge.asked) == len(checked) == 1  # of the other reply nothing
        again = await asyncio.gather(first, other, rewarder("q", f"{WELL_FORMED}\n"), return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in again] == [True, True, False]

    asyncio.run(run())


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
