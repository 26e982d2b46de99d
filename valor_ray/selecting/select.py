"""Several replies to one question, all run, and the answer that vote, judge or scenes choose. Ours (paper: one reply).

    question ─► n replies ─► programs, at a time ──────────────► answers ─► vote ─┐
                     └────► judges or scenes, meanwhile ────────► scores ─────────┴─► the answer taken, and why

vote: what most programs answer. judge: the reply with the best reward of the text heads. scenes: a program that answers
as a judge does in made-up scenes. Ties fall to more votes, then to the earlier reply. No label is seen.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from valor_ray import answer
from valor_ray.answer import ProgramRunner, attempts_of, tokens_of, tried
from valor_ray.config.judging import RewardConfig
from valor_ray.errors import JudgeError, ServiceError
from valor_ray.ports import Policy
from valor_ray.reasoning.reward import Rewarding, lasting
from valor_ray.records import Answer, Head, Picture, Reply, Reward
from valor_ray.repairs import NONE, Repairs, Run, Tried, repaired
from valor_ray.runs.at_once import each
from valor_ray.selecting.agreement import votes
from valor_ray.tools import ToolHost

SCENES_WEIGHT = 0.9  # of the scene tests where they choose; syntax decides about questions without scenes


class Select(StrEnum):
    VOTE = "vote"
    JUDGE = "judge"
    SCENES = "scenes"


@dataclass(frozen=True)
class Candidate:
    """One reply and what speaks for it."""

    answer: Answer
    votes: int  # candidates that answer the same, itself included; 0 without an answer
    score: float | None = None  # 0..1 by judge or scenes; None: not asked, or a verdict is missing
    reasons: str = ""  # what they said against it


@dataclass(frozen=True)
class Selected:
    """The candidates in the order in which they were sampled, and the one that is taken."""

    candidates: tuple[Candidate, ...]
    chosen: int
    select: Select
    why: str  # one line, for a reader
    seconds: float
    calls: int = 0  # of judges, for all candidates
    cost_usd: float = 0.0
    unjudged: str = ""  # why a candidate lacks a verdict that asking again could give

    @property
    def answer(self) -> Answer:
        """The chosen candidate's, with the seconds, sampled tokens and cost of all. Their first prompt is one."""
        answers = [one.answer for one in self.candidates]
        chosen = answers[self.chosen]
        prompts = first_of(chosen).tokens[0] + sum(one.tokens[0] - first_of(one).tokens[0] for one in answers)
        return replace(
            chosen,
            seconds=self.seconds,
            tokens=(prompts, sum(one.tokens[1] for one in answers)),
            cost_usd=sum(one.cost_usd for one in answers),
        )


def reward_for(select: Select, weights: RewardConfig) -> RewardConfig | None:
    """What judges are asked about a candidate; None: nothing. Text heads count as in training."""
    if select is Select.VOTE:
        return None
    if select is Select.SCENES:
        heads = {"logic": 0, "attribute": 0, "spatial": 0, "adherence": 0, "syntax": 1 - SCENES_WEIGHT}
        return weights.model_copy(update={**heads, "scenes": SCENES_WEIGHT})
    left = 1 - weights.scenes
    heads = {head.value: getattr(weights, head.value) / left for head in Head if head not in _OTHERS}
    return weights.model_copy(update={**heads, "scenes": 0})


_OTHERS = (Head.FORMAT, Head.SCENES)


async def answer_selected(
    question: str,
    picture: Picture,
    policy: Policy,
    sandbox: ProgramRunner,
    tools: ToolHost,
    *,
    samples: int,
    select: Select,
    rewarding: Rewarding | None = None,
    seed: int | None = None,
    repairs: Repairs = NONE,
) -> Selected:
    """Sample `samples` replies, run each different program once, repair each reply that failed, choose.

    rewarding: of `reward_for`; wanted for judge and scenes, which see a repaired reply as it is in the end. Judges that
    fail leave the choice to the votes, and the candidates say so. Called by the front door, once a question. Raises
    PolicyError when there is no reply at all.
    """
    start = time.monotonic()
    replies = await policy.generate(question, n=samples, seed=seed)
    first = {_said(reply): reply for reply in reversed(replies)}  # equal replies are run and judged once
    ran: dict[str, Tried] = {}
    judges = _Judges(question, rewarding)

    async def run(reply: Reply) -> Tried:
        return await tried(reply, picture, sandbox, tools, start)

    async def run_once(text: str) -> None:
        ran[text] = await run(first[text])

    works = [partial(run_once, text) for text in first]
    if not repairs.most:
        works += [partial(judges.hear, text) for text, reply in first.items() if not reply.nothing]
    await each(works, _call, len(works))
    tries = [_as_sampled(ran[_said(reply)], reply) for reply in replies]
    answers = await _all_repaired(tries, question, policy, run, repairs, seed)
    if repairs.most:
        texts = {one.reply for one in answers if one.reply}
        await each(texts, judges.hear, max(len(texts), 1))
    return _selected(
        select,
        answers,
        [judges.said.get(one.reply) for one in answers],
        [reward for reward in judges.said.values() if isinstance(reward, Reward)],
        time.monotonic() - start,
        judges.unjudged,
    )


class _Judges:
    """Hear each different reply once. `said`: by reply; a text says why there is no reward."""

    def __init__(self, question: str, rewarding: Rewarding | None) -> None:
        self._question, self._rewarding = question, rewarding
        self.said: dict[str, Reward | str] = {}

    async def hear(self, reply: str) -> None:
        if self._rewarding is None:
            return
        try:
            self.said[reply] = await self._rewarding(self._question, reply)
        except (JudgeError, ServiceError) as error:
            self.said[reply] = str(error)  # there are still answers to choose from

    @property
    def unjudged(self) -> str:
        """Of the first reply that lacks a verdict which it could have, why; what it leaves open itself stays so."""
        for said in self.said.values():
            if not isinstance(said, Reward):
                return said
            if not lasting(said):
                return next(one.reason for one in said.verdicts.values() if one.value is None)
        return ""


async def _all_repaired(
    tries: Sequence[Tried], question: str, policy: Policy, run: Run, repairs: Repairs, seed: int | None
) -> list[Answer]:
    """Equal replies are repaired each for itself: each by a seed of its own."""
    answers = [one.answer for one in tries]

    async def repair(number: int) -> None:
        own = None if seed is None else (seed + number) % _SEEDS
        answers[number] = await repaired(tries[number], question, policy, run, repairs, own)

    await each(range(len(tries)), repair, len(tries))
    return answers


_SEEDS = 2**31


def _as_sampled(one: Tried, reply: Reply) -> Tried:
    """How an equal reply went, as that of this one."""
    own = replace(
        one.answer, policy_version=reply.policy_version, tokens=tokens_of(reply), cost_usd=reply.cost_usd
    )
    return replace(one, answer=own)


def first_of(one: Answer) -> Answer:
    """Of the reply that was sampled first, before it was repaired."""
    return one.earlier[0] if one.earlier else one


def _said(reply: Reply) -> str:
    """Its text; of a writer that gave none, why."""
    return reply.text or reply.nothing


async def _call(work: Callable[[], Awaitable[None]]) -> None:
    await work()


def _selected(
    select: Select,
    answers: Sequence[Answer],
    judged: Sequence[Reward | str | None],
    paid: Sequence[Reward],
    seconds: float,
    unjudged: str,
) -> Selected:
    """judged: of each candidate; a text says why there is none. paid: each reward once."""
    candidates = _candidates(answers, judged)
    chosen = best(candidates, select)
    used = [usage for reward in paid for usage in reward.usage.values()]
    return Selected(
        candidates=candidates,
        chosen=chosen,
        select=select,
        why=_why(candidates, chosen, select),
        seconds=seconds,
        calls=sum(usage.tries for usage in used),
        cost_usd=sum(usage.cost_usd for usage in used),
        unjudged=unjudged,
    )


def _candidates(answers: Sequence[Answer], judged: Sequence[Reward | str | None]) -> tuple[Candidate, ...]:
    counted = votes([None if one.error else one.answer for one in answers])
    return tuple(
        Candidate(one, count, said.value if isinstance(said, Reward) else None, _against(said))
        for one, count, said in zip(answers, counted, judged, strict=True)
    )


def _against(judged: Reward | str | None) -> str:
    """The heads that said no, and why; verdicts that are missing likewise."""
    if not isinstance(judged, Reward):
        return judged or ""
    return "; ".join(
        f"{head.value}: {'no verdict, ' if verdict.value is None else ''}{verdict.reason}"
        for head, verdict in judged.verdicts.items()
        if verdict.value is not True
    )


def best(candidates: Sequence[Candidate], select: Select) -> int:
    """Number of the candidate that is taken; one without an answer only where none has any."""

    def key(number: int) -> tuple[bool, float, int, int]:
        one = candidates[number]
        score = 0.0 if select is Select.VOTE else (-1.0 if one.score is None else one.score)
        return one.votes > 0, score, one.votes, -number

    return max(range(len(candidates)), key=key)


def _why(candidates: Sequence[Candidate], chosen: int, select: Select) -> str:
    one, n = candidates[chosen], len(candidates)
    if one.votes == 0:
        return f"none of {n} replies gave an answer"
    agree = f"{one.votes} of {n} replies answer so"
    if select is Select.VOTE:
        return agree
    by = "judges" if select is Select.JUDGE else "scene tests"
    if one.score is None:
        return f"no verdict of the {by}; {agree}"
    return f"best by the {by} ({one.score:.2f}); {agree}"


def to_json(selected: Selected) -> dict[str, Any]:
    """The public shape: that of one answer, and how it was chosen: `selection` and `candidates`, in their order."""
    return {
        **answer.to_json(selected.answer),
        "selection": {
            "select": selected.select.value,
            "samples": len(selected.candidates),
            "chosen": selected.chosen,
            "why": selected.why,
            "calls": selected.calls,
            "cost_usd": round(selected.cost_usd, 6),
            "unjudged": selected.unjudged or None,
        },
        "candidates": [
            {
                "answer": answer.finite(one.answer.answer),
                "votes": one.votes,
                "score": None if one.score is None else round(one.score, 4),
                "reasons": one.reasons,
                "error": one.answer.error,
                "plan": one.answer.plan,
                "code": one.answer.code,
                **attempts_of(one.answer),
            }
            for one in selected.candidates
        ],
    }
