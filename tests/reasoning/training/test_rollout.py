"""An assignment becomes rewarded groups: what is kept before it is paid for, what is replaced, what is missing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from valor_ray.errors import JudgeError
from valor_ray.reasoning.reward import Rewarder
from valor_ray.reasoning.training import rollout
from valor_ray.reasoning.training.folder import FolderSamples
from valor_ray.reasoning.training.rollout import RolloutResult, roll_out
from valor_ray.reasoning.training.schedule import Assignment
from valor_ray.records import Head, Query, Reply, Reward, Sampling, Usage, Verdict

V = "step-000000"
SAMPLING = Sampling(1.0, 1.0, 50)


class Dice:
    """A sampler whose replies name question and place; counts its calls."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        self.asked.append(list(questions))
        return [
            [
                Reply(
                    f"{question} {j}", (1, 2, 3), (-0.1, -0.2, -0.3), V, "stop", (7, 8), ((V, 3),)
                )
                for j in range(n)
            ]
            for question in questions
        ]  # fmt: skip


def judged(value: float | None) -> Reward:
    return Reward(value, {head: Verdict(None if value is None else value > 0.5) for head in Head})


async def by_place(question: str, reply: str) -> Reward:
    """Questions named `flat` get equal rewards, others rewards that differ."""
    return judged(1.0 if "flat" in question else float(reply[-1]) / 10)


def assignment(*names: str, groups: int = 2, canaries: int = 0) -> Assignment:
    queries = tuple(Query(name, name) for name in names)
    return Assignment(3, 0, groups, queries, seed=5, canaries=canaries)


def run(
    work: Assignment, rewarder, kept_samples: FolderSamples, dice: Dice | None = None, patience: float = 60
) -> RolloutResult:
    return asyncio.run(roll_out(work, 3, dice or Dice(), SAMPLING, rewarder, kept_samples, patience))


@pytest.fixture
def kept_samples(tmp_path: Path) -> FolderSamples:
    return FolderSamples(tmp_path)


def test_every_sample_is_a_record_with_ids_tokens_and_versions(kept_samples: FolderSamples) -> None:
    outcome = run(assignment("a", "b"), by_place, kept_samples)
    assert [one.rollout_id for one in outcome.rollouts] == [
        f"s000003-0-{group:02d}-{j}" for group in range(2) for j in range(3)
    ]
    one = outcome.rollouts[1]
    assert one.token_ids == (1, 2, 3) and one.prompt_ids == (7, 8)
    assert one.logprobs == (-0.1, -0.2, -0.3) and one.versions == (("step-000000", 3),)
    assert one.fate == "used" and one.advantage == pytest.approx(0, abs=1e-6) and one.value == 0.1


def test_groups_without_variance_are_replaced_from_the_reserve(kept_samples: FolderSamples) -> None:
    dice = Dice()
    outcome = run(assignment("a", "flat", "flat too", "c", "d"), by_place, kept_samples, dice)
    assert dice.asked == [["a", "flat"], ["flat too"], ["c"]]  # as many as are wanted, no more
    assert [one.fate for one in outcome.rollouts[::3]] == ["used", "equal", "equal", "used"]


def test_order_ends_when_its_reserve_is_used_up(kept_samples: FolderSamples) -> None:
    outcome = run(assignment("flat 1", "flat 2", "flat 3"), by_place, kept_samples)
    assert {one.fate for one in outcome.rollouts} == {"equal"} and len(outcome.rollouts) == 9


def test_killed_order_goes_on_with_the_samples_it_had(kept_samples: FolderSamples) -> None:
    async def dies(question: str, reply: str) -> Reward:
        raise KeyboardInterrupt

    first, again = Dice(), Dice()
    with pytest.raises(KeyboardInterrupt):
        run(assignment("a", "b"), dies, kept_samples, first)
    assert first.asked and not again.asked
    outcome = run(assignment("a", "b"), by_place, kept_samples, again)
    assert again.asked == [] and outcome.rollouts[0].reply == "a 0"


def test_verdicts_that_came_after_a_kill_use_no_more_samples_than_are_needed(
    kept_samples: FolderSamples,
) -> None:
    """Three groups were flat when the run was killed; on the second start one of them has turned out useful."""
    work = assignment("a", "flat b", "flat c", "flat d", "e", "f", "g", "h", groups=4)

    async def dies_in_part_two(question: str, reply: str) -> Reward:
        if question in ("e", "f", "g", "h"):
            raise KeyboardInterrupt
        return await by_place(question, reply)

    async def b_is_useful(question: str, reply: str) -> Reward:
        return await by_place(question.replace("flat b", "b"), reply)

    with pytest.raises(KeyboardInterrupt):
        run(work, dies_in_part_two, kept_samples)
    again = Dice()
    outcome = run(work, b_is_useful, kept_samples, again)
    assert again.asked == []  # e and f of the three that were kept
    assert [one.query_id for one in outcome.rollouts[::3]] == ["a", "flat b", "flat c", "flat d", "e", "f"]
    assert len({one.rollout_id for one in outcome.rollouts}) == len(outcome.rollouts)


def test_kept_samples_of_other_queries_are_not_used(kept_samples: FolderSamples) -> None:
    run(assignment("x", "y"), by_place, kept_samples)
    again = Dice()
    outcome = run(assignment("a", "b"), by_place, kept_samples, again)
    assert again.asked == [["a", "b"]] and {one.query_id for one in outcome.rollouts} == {"a", "b"}


def test_missing_reward_leaves_its_group_and_is_no_zero(kept_samples: FolderSamples) -> None:
    async def some(question: str, reply: str) -> Reward:
        return judged(None) if reply == "a 1" else await by_place(question, reply)

    outcome = run(assignment("a", "b"), some, kept_samples)
    lost = outcome.rollouts[1]
    assert lost.fate == "missing" and lost.value is None and lost.advantage is None
    assert outcome.rollouts[0].advantage == pytest.approx(-outcome.rollouts[2].advantage)


def test_reward_that_hangs_becomes_missing(kept_samples: FolderSamples) -> None:
    async def hangs(question: str, reply: str) -> Reward:
        if reply == "a 1":
            await asyncio.sleep(1000)
        return await by_place(question, reply)

    outcome = run(assignment("a", "b"), hangs, kept_samples, patience=0.2)
    assert outcome.rollouts[1].fate == "missing" and "0 s" in outcome.rollouts[1].reasons["format"]


def test_ill_judge_is_asked_again_before_anything_is_given_up(
    kept_samples: FolderSamples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "_ASK_AGAIN_S", (0.01, 0.01))
    asked: list[str] = []

    async def ill_at_first(question: str, reply: str) -> Reward:
        asked.append(reply)
        return judged(None) if len(asked) <= 6 else await by_place(question, reply)

    outcome = run(assignment("a", "b"), ill_at_first, kept_samples)
    assert {one.fate for one in outcome.rollouts} == {"used"} and len(asked) == 12


def test_what_asking_an_ill_judge_took_is_in_the_rewards_that_came_later(
    kept_samples: FolderSamples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "_ASK_AGAIN_S", (0.01, 0.01))
    asked: list[str] = []

    async def ill_at_first(question: str, reply: str) -> Reward:
        asked.append(reply)
        if len(asked) <= 6:
            took = {Head.LOGIC: Usage(1.0, 10, 1, 0.5, tries=2), Head.SPATIAL: Usage(1.0, 0, 0, 0.0, tries=3)}
            return replace(judged(None), usage=took)
        took = {Head.LOGIC: Usage(0.5, cached=True), Head.ATTRIBUTE: Usage(0.5, 100, 10, 0.25, tries=1)}
        return replace(await by_place(question, reply), usage=took)

    for one in run(assignment("a", "b"), ill_at_first, kept_samples).rollouts:
        assert (one.calls, one.cache_hits, one.cost_usd) == (6, 0, 0.75) and one.fate == "used"
        assert (one.prompt_tokens, one.completion_tokens) == (110, 11)
        assert one.latency_s == {"logic": 1.5, "spatial": 1.0, "attribute": 0.5}


def test_replies_that_leave_their_scenes_undecided_make_no_judge_ill(
    kept_samples: FolderSamples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "_ASK_AGAIN_S", (0.01, 0.01))
    asked: list[str] = []

    async def vague(question: str, reply: str) -> Reward:
        asked.append(reply)
        if reply[-1] == "2":
            return await by_place(question, reply)
        return Reward(None, {Head.SCENES: Verdict(None, "undecided: 0 of 8 scenes", undecided=True)})

    outcome = run(assignment("a", "b"), vague, kept_samples)
    assert len(asked) == 6 and [one.fate for one in outcome.rollouts] == ["missing", "missing", "equal"] * 2


def test_group_whose_question_has_no_scenes_is_trained_on_by_the_other_heads(
    kept_samples: FolderSamples,
) -> None:
    async def left_out(question: str, reply: str) -> Reward:
        value = float(reply[-1]) / 10
        return Reward(value, {Head.FORMAT: Verdict(True)}, left_out=(Head.SCENES,), scene_test='{"why": ""}')

    outcome = run(assignment("a", "b"), left_out, kept_samples)
    assert {one.fate for one in outcome.rollouts} == {"used"}
    assert all(
        one.left_out == ("scenes",) and one.scene_test and one.scenes is None for one in outcome.rollouts
    )


def test_questions_are_prepared_while_their_replies_are_sampled(kept_samples: FolderSamples) -> None:
    order: list[str] = []

    class Prepares(Rewarder):
        def __init__(self) -> None:
            pass

        def prepare(self, questions: Iterable[str]) -> None:
            order.extend(questions)

        async def __call__(self, question: str, reply: str) -> Reward:
            order.append("rewarded")
            return await by_place(question, reply)

    run(assignment("a", "b", "c"), Prepares(), kept_samples)
    assert order[:3] == ["a", "b", "rewarded"] and "c" not in order


def test_judge_that_stays_ill_ends_the_order_and_its_samples_stay(
    kept_samples: FolderSamples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "_ASK_AGAIN_S", (0.01, 0.01))

    async def ill(question: str, reply: str) -> Reward:
        return Reward(None, {Head.LOGIC: Verdict(None, "no answer in 20 s")})

    with pytest.raises(JudgeError, match=r"6 of 6 replies.*asked 3 times.*no answer in 20 s.*same command"):
        run(assignment("a", "b"), ill, kept_samples)
    again = Dice()
    assert len(run(assignment("a", "b"), by_place, kept_samples, again).rollouts) == 6 and again.asked == []


def test_canaries_are_judged_among_them_and_are_no_rollouts(kept_samples: FolderSamples) -> None:
    outcome = run(assignment("a", "b", canaries=2), by_place, kept_samples)
    assert len(outcome.audit) == 2 and all(
        record["canary"] and record["step"] == 3 for record in outcome.audit
    )
    assert len(outcome.rollouts) == 6


# group by group, as where engines are shared


class Uneven(Dice):
    """Replies of a group come when its turn is called; `late` ones wait for `release`."""

    def __init__(self, late: str = "", release: asyncio.Event | None = None) -> None:
        super().__init__()
        self.late, self.release = late, release

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        if self.release is not None and self.late in questions:
            await asyncio.wait_for(self.release.wait(), 10)
        return await super().sample(questions, n=n, seed=seed, sampling=sampling)


def each(work: Assignment, rewarder, kept_samples: FolderSamples, sampler: Dice) -> RolloutResult:
    return asyncio.run(roll_out(work, 3, sampler, SAMPLING, rewarder, kept_samples, 60, group_by_group=True))


def test_judging_begins_with_the_first_group_and_the_records_are_those_of_one_call(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def judge(question: str, reply: str) -> Reward:
        if question == "b":
            release.set()  # else `a` would never be sampled
        return await by_place(question, reply)

    early = each(assignment("a", "b", "c"), judge, FolderSamples(tmp_path), Uneven("a", release))
    late = (
        run(assignment("a", "b", "c"), by_place, FolderSamples(tmp_path / "none"), Dice())
        if ((tmp_path / "none").mkdir() is None)
        else None
    )
    assert late is not None and early.rollouts == late.rollouts


def test_each_group_is_kept_before_it_is_judged_and_never_sampled_again(tmp_path: Path) -> None:
    kept = FolderSamples(tmp_path)

    async def dies(question: str, reply: str) -> Reward:
        raise KeyboardInterrupt

    dice = Dice()
    with pytest.raises(KeyboardInterrupt):
        each(assignment("a", "b"), dies, kept, dice)
    for thread in threading.enumerate():  # which may still write a group
        if thread.name.startswith("asyncio_"):
            thread.join(10)
    there = len(list(tmp_path.iterdir()))
    assert 1 <= there <= 2
    again = Dice()
    result = each(assignment("a", "b"), by_place, kept, again)
    assert len(again.asked) == 2 - there
    assert [row.reply for row in result.rollouts] == [f"{q} {n}" for q in "ab" for n in range(3)]
    kept.forget("s000003-0")
    assert list(tmp_path.iterdir()) == []


def test_groups_without_use_are_replaced_group_by_group_too(tmp_path: Path) -> None:
    result = each(assignment("flat 1", "b", "c", "d"), by_place, FolderSamples(tmp_path), Dice())
    assert {row.question for row in result.rollouts if row.fate == "used"} == {"b", "c"}
    assert {row.question for row in result.rollouts} == {"flat 1", "b", "c"}
