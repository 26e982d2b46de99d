"""The rewards of a reply and the paper's formula: R = format x weighted sum of the others (REFERENCE §1).

Six heads are the paper's; the seventh, scenes, is ours (reasoning.scenes) and off by default. A head of weight 0 is not
asked. A head that does not apply to a question is left out for all its replies, and the others' weights make up for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from valor_ray.judges.plan_heads import read_verdict, verdict_requests
from valor_ray.ports import Judge, SyntaxCheck
from valor_ray.program.parse import parse_reply
from valor_ray.records import Head, JudgeReply, JudgeRequest, Reward, Usage, Verdict
from valor_ray.runs.shared import Shared

if TYPE_CHECKING:
    from valor_ray.config.judging import RewardConfig
    from valor_ray.reasoning.scenes.check import SceneTests, SceneVerdict

Rewarding = Callable[[str, str], Awaitable[Reward]]  # (question, reply) -> its reward
_REMEMBERED = 4096  # rewards of recent replies kept for equal ones


def reward_value(
    verdicts: Mapping[Head, Verdict], weights: RewardConfig, left_out: Collection[Head] = ()
) -> float | None:
    """0..1, or None when a verdict that counts is missing. A reply without the format is 0 whatever else it is."""
    if verdicts[Head.FORMAT].value is not True:
        return 0.0 if weights.format else None
    total = counting = 0.0
    for head, weight in weights.weights().items():
        if head in left_out:
            continue
        value = verdicts[head].value
        if value is None:
            return None
        total += weight * value
        counting += weight
    return total / counting if left_out else total


async def reward(
    question: str,
    reply: str,
    syntax: SyntaxCheck,
    judge: Judge,
    weights: RewardConfig,
    scenes: SceneTests | None = None,
) -> Reward:
    """Judge one reply. All judges go out together; a reply without the format is judged by nobody.

    scenes: wanted where reward.scenes has a weight. Raises JudgeError when every further reply must fail too (a refused
    key), ProgramError when the sandbox is broken.
    """
    started = time.perf_counter()
    parsed = parse_reply(reply)
    verdicts = {
        Head.FORMAT: Verdict(parsed.well_formed, parsed.error or "one plan block and one answer block")
    }
    if not parsed.well_formed:
        return Reward(reward_value(verdicts, weights), verdicts, seconds=time.perf_counter() - started)
    if weights.syntax:
        verdicts[Head.SYNTAX] = await syntax(parsed.code)
    requests = verdict_requests(question, parsed.plan, parsed.code, weights.judged())
    testing = None if scenes is None else asyncio.ensure_future(scenes.verdict(question, parsed.code))
    try:
        replies = await _asked(judge, requests)
        tested = None if testing is None else await testing
    finally:
        if testing is not None:
            testing.cancel()
    verdicts |= {head: read_verdict(said) for head, said in replies.items()}
    usage = {head: said.usage for head, said in replies.items()}
    return _reward(verdicts, usage, tested, weights, started)


async def _asked(judge: Judge, requests: Mapping[Head, JudgeRequest]) -> dict[Head, JudgeReply]:
    """Nobody is called where no head of plan and program counts."""
    replies = await judge.ask(list(requests.values())) if requests else []
    return dict(zip(requests, replies, strict=True))


def _reward(
    verdicts: dict[Head, Verdict],
    usage: dict[Head, Usage],
    tested: SceneVerdict | None,
    weights: RewardConfig,
    started: float,
) -> Reward:
    left_out: tuple[Head, ...] = ()
    if tested is not None:
        usage[Head.SCENES] = tested.usage
        if tested.verdict is None:
            left_out = (Head.SCENES,)
        else:
            verdicts[Head.SCENES] = tested.verdict
    return Reward(
        reward_value(verdicts, weights, left_out),
        verdicts,
        usage,
        time.perf_counter() - started,
        left_out,
        "" if tested is None else tested.test,
    )


def lasting(judged: Reward) -> bool:
    """Whether asking again would change nothing: there is a reward, or what it lacks the reply itself leaves open."""
    missing = [verdict for verdict in judged.verdicts.values() if verdict.value is None]
    return judged.value is not None or all(verdict.undecided for verdict in missing)


class Rewarder:
    """`reward` that judges equal (question, reply) pairs once: those in work are shared, recent ones remembered.

    A missing reward and an error are not remembered: they are asked for again when the pair comes again. Judging ends
    when all who wait for it have hung up; verdicts that a judge is asked for by then are kept where his answers are.
    Called by roll_out and score_row, many at a time on one event loop; waits for the sandbox, then for the judge.
    """

    def __init__(
        self, syntax: SyntaxCheck, judge: Judge, weights: RewardConfig, scenes: SceneTests | None = None
    ) -> None:
        """scenes: where reward.scenes has a weight."""
        self._syntax = syntax
        self._judge = judge
        self._weights = weights
        self._scenes = scenes
        self._known: OrderedDict[tuple[str, str], Shared[Reward]] = OrderedDict()
        self._preparing: set[asyncio.Task[None]] = set()

    def prepare(self, questions: Iterable[str]) -> None:
        """Begin with what a question's replies share, while they are still sampled; what fails, fails again then."""
        if self._scenes is None:
            return
        for question in questions:
            task = asyncio.create_task(self._scenes.prepare(question))
            self._preparing.add(task)
            task.add_done_callback(self._prepared)

    def _prepared(self, task: asyncio.Task[None]) -> None:
        self._preparing.discard(task)
        if not task.cancelled():
            task.exception()  # heard of: whoever asks for a verdict gets it anew

    async def __call__(self, question: str, reply: str) -> Reward:
        key = (question, reply)
        judging = self._known.get(key)
        again = judging is not None
        if judging is None:
            judging = self._known[key] = Shared(
                reward(question, reply, self._syntax, self._judge, self._weights, self._scenes)
            )
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        try:
            judged = await judging.result()
        except BaseException:
            self._known.pop(key, None)
            raise
        if judged.value is None:  # to be judged again when it comes again
            self._known.pop(key, None)
        return _shared(judged) if again else judged


def _shared(judged: Reward) -> Reward:
    """The reward of an equal reply: paid for once."""
    usage = {
        head: Usage(used.latency_s, cached=True, model=used.model) for head, used in judged.usage.items()
    }
    return replace(judged, usage=usage)


def reward_record(judged: Reward) -> dict[str, Any]:
    """The reward as a flat JSON object: a row of schema.REWARD_SCHEMA, a part of records.Rollout.

    A head that was not asked is null and has no reason; one that is missing is null and has one.
    """
    values = {head: judged.verdicts[head].value if head in judged.verdicts else None for head in Head}
    used = judged.usage.values()
    return {
        "value": judged.value,
        **{head.value: value for head, value in values.items()},
        "left_out": tuple(head.value for head in judged.left_out),
        "reasons": {head.value: verdict.reason for head, verdict in judged.verdicts.items()},
        "by": {head.value: verdict.by for head, verdict in judged.verdicts.items() if verdict.by},
        "calls": sum(usage.tries for usage in used),
        "cache_hits": sum(usage.cached for usage in used),
        "prompt_tokens": sum(usage.prompt_tokens for usage in used),
        "completion_tokens": sum(usage.completion_tokens for usage in used),
        "cost_usd": sum(usage.cost_usd for usage in used),
        "latency_s": {head.value: round(usage.latency_s, 4) for head, usage in judged.usage.items()},
        "seconds": round(judged.seconds, 4),
        "scene_test": judged.scene_test,
    }
