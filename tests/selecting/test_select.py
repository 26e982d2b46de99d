"""One answer of several replies: each program once, the best by vote, judge or scenes, and why."""

import asyncio
import json

import numpy as np
import pytest

from valor_ray.config.judging import RewardConfig
from valor_ray.config.service import SandboxConfig
from valor_ray.errors import JudgeError
from valor_ray.images import from_array
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import Head, Reply, Reward, Usage, Verdict
from valor_ray.selecting.select import Select, answer_selected, reward_for, to_json

PICTURE = from_array(np.zeros((48, 64, 3), np.uint8))


def says(value: str) -> str:
    return f"<plan>Say it.</plan><answer>final_answer = {value}</answer>"


class Policy:
    """Replies as told, whatever the question."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        assert n == len(self.texts)
        return [Reply(text, (1,), (0.0,), "v", "stop") for text in self.texts]


class CountingSandbox(Sandbox):
    runs = 0

    async def run(self, *args, **kwargs):
        self.runs += 1
        return await super().run(*args, **kwargs)


def scores(**by_reply: float | None):
    """A reward by what stands in the reply: of 0 with a head that says no, of None with one that is missing."""

    async def rewarding(question: str, reply: str) -> Reward:
        value = next(value for name, value in by_reply.items() if name in reply)
        verdict = Verdict(None if value is None else value > 0.5, "looked at the plan")
        return Reward(value, {Head.LOGIC: verdict}, {Head.LOGIC: Usage(tries=1, cost_usd=0.01)})

    return rewarding


def select(policy: Policy, how: Select, rewarding=None):
    async def go():
        sandbox = CountingSandbox(SandboxConfig(wall_seconds=10))
        await sandbox.start()
        sandbox.runs = 0
        try:
            tools = PlaceholderTools((64, 48))
            selected = await answer_selected(
                "What is it?", PICTURE, policy, sandbox, tools,
                samples=len(policy.texts), select=how, rewarding=rewarding,
            )  # fmt: skip
            return selected, sandbox.runs
        finally:
            await sandbox.close()

    return asyncio.run(go())


def test_vote_takes_what_most_programs_answer_and_runs_equal_replies_once():
    selected, runs = select(Policy(says("1"), says("2"), says("2"), says("2.0"), "no blocks"), Select.VOTE)
    assert (selected.answer.answer, selected.chosen, runs) == (2, 1, 3)
    assert [one.votes for one in selected.candidates] == [1, 3, 3, 3, 0]
    assert selected.why == "3 of 5 replies answer so" and selected.calls == 0


def test_a_tie_falls_to_the_earlier_reply_and_a_failed_one_is_never_taken():
    selected, _ = select(Policy(says("1 / 0"), says("'a'"), says("'b'")), Select.VOTE)
    assert selected.answer.answer == "a"


def test_judge_takes_the_best_reward_before_the_votes():
    policy = Policy(says("'cat'"), says("'dog'"), says("'cat'"))
    selected, _ = select(policy, Select.JUDGE, scores(cat=0.2, dog=0.9))
    assert selected.answer.answer == "dog"
    assert selected.why == "best by the judges (0.90); 1 of 3 replies answer so"
    assert (selected.calls, round(selected.cost_usd, 6)) == (2, 0.02)
    assert selected.candidates[0].reasons == "logic: looked at the plan"


def test_equal_rewards_leave_it_to_the_votes():
    policy = Policy(says("'dog'"), says("'cat'"), says("'cat' "))
    selected, _ = select(policy, Select.JUDGE, scores(cat=1.0, dog=1.0))
    assert selected.answer.answer == "cat"


def test_a_good_plan_without_an_answer_is_not_taken():
    policy = Policy(says("1 / 0  # good"), says("'poor'"))
    selected, _ = select(policy, Select.JUDGE, scores(good=1.0, poor=0.0))
    assert selected.answer.answer == "poor"


def test_a_missing_verdict_comes_after_every_reward():
    policy = Policy(says("'cat'"), says("'dog'"))
    selected, _ = select(policy, Select.SCENES, scores(cat=None, dog=0.0))
    assert selected.answer.answer == "dog" and "no verdict" in selected.candidates[0].reasons


def test_judges_that_refuse_leave_it_to_the_votes_and_say_so():
    async def refused(question: str, reply: str) -> Reward:
        raise JudgeError("The key was refused.")

    selected, _ = select(Policy(says("1"), says("2"), says("2 ")), Select.JUDGE, refused)
    assert selected.answer.answer == 2
    assert selected.why == "no verdict of the judges; 2 of 3 replies answer so"
    assert {one.reasons for one in selected.candidates} == {"The key was refused."}
    assert selected.unjudged == to_json(selected)["selection"]["unjudged"] == "The key was refused."


def test_what_a_reply_itself_leaves_open_is_not_unjudged():
    async def open_question(question: str, reply: str) -> Reward:
        return Reward(None, {Head.LOGIC: Verdict(None, "the judge declined", undecided=True)})

    selected, _ = select(Policy(says("1"), says("2")), Select.JUDGE, open_question)
    assert selected.unjudged == "" and to_json(selected)["selection"]["unjudged"] is None
    missing, _ = select(Policy(says("'cat'"), says("'dog'")), Select.JUDGE, scores(cat=None, dog=1.0))
    assert missing.unjudged == "looked at the plan"


def test_no_reply_with_an_answer_is_said():
    selected, _ = select(Policy("nothing", says("1 / 0")), Select.VOTE)
    assert selected.answer.answer is None and selected.answer.error
    assert selected.why == "none of 2 replies gave an answer"


@pytest.mark.parametrize(
    "trained",
    [RewardConfig(), RewardConfig(scenes=0.5, logic=0.1, spatial=0.1, attribute=0.1, adherence=0.1)],
)
def test_what_chooses_is_asked_and_nothing_else(trained):
    assert reward_for(Select.VOTE, trained) is None
    judge, scenes = reward_for(Select.JUDGE, trained), reward_for(Select.SCENES, trained)
    assert judge and scenes
    for weights in (judge, scenes):
        RewardConfig.model_validate(weights.model_dump())  # they sum to 1
    assert Head.SCENES not in judge.weights() and len(judge.weights()) == 5
    assert set(scenes.weights()) == {Head.SYNTAX, Head.SCENES} and not scenes.judged()
    json.dumps(judge.model_dump())


def test_public_shape_adds_how_it_was_chosen():
    shown = to_json(select(Policy(says("1"), "nothing"), Select.JUDGE, scores(final=1.0, nothing=0.0))[0])
    assert (shown["answer"], shown["error"]) == (1, None)
    assert shown["selection"] | {"cost_usd": 0} == {
        "select": "judge", "samples": 2, "chosen": 0, "calls": 2, "cost_usd": 0,
        "why": "best by the judges (1.00); 1 of 2 replies answer so", "unjudged": None,
    }  # fmt: skip
    assert [one["answer"] for one in shown["candidates"]] == [1, None]
    json.dumps(shown)
