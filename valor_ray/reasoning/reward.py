"""The six rewards of a reply and the paper's formula: R = format x weighted sum of the other five (REFERENCE §1)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from valor_ray.judges.plan_heads import read_verdict, verdict_requests
from valor_ray.ports import Judge, SyntaxCheck
from valor_ray.program.parse import parse_reply
from valor_ray.records import Head, Reward, Usage, Verdict

if TYPE_CHECKING:
    from valor_ray.config.judging import RewardConfig

Rewarding = Callable[[str, str], Awaitable[Reward]]  # (question, reply) -> its reward
_REMEMBERED = 4096  # rewards of recent replies kept for equal ones


def reward_value(verdicts: Mapping[Head, Verdict], weights: RewardConfig) -> float | None:
    """0..1, or None when a verdict that counts is missing. A reply without the format is 0 whatever else it is."""
    if verdicts[Head.FORMAT].value is not True:
        return 0.0 if weights.format else None
    total = 0.0
    for head in Head:
        if head is Head.FORMAT:
            continue
        value = verdicts[head].value
        if value is None:
            return None
        total += getattr(weights, head.value) * value
    return total


async def reward(
    question: str, reply: str, syntax: SyntaxCheck, judge: Judge, weights: RewardConfig
) -> Reward:
    """Judge one reply. All four judges go out together; a reply without the format is judged by nobody.

    Raises JudgeError when every further reply must fail too (a refused key), ProgramError when the sandbox is broken.
    """
    started = time.perf_counter()
    parsed = parse_reply(reply)
    verdicts = {
        Head.FORMAT: Verdict(parsed.well_formed, parsed.error or "one plan block and one answer block")
    }
    if not parsed.well_formed:
        return Reward(reward_value(verdicts, weights), verdicts, seconds=time.perf_counter() - started)
    verdicts[Head.SYNTAX] = await syntax(parsed.code)
    requests = verdict_requests(question, parsed.plan, parsed.code)
    replies = await judge.ask(list(requests.values()))
    verdicts |= {head: read_verdict(said) for head, said in zip(requests, replies, strict=True)}
    usage = {head: said.usage for head, said in zip(requests, replies, strict=True)}
    return Reward(reward_value(verdicts, weights), verdicts, usage, time.perf_counter() - started)


class Rewarder:
    """`reward` that judges equal (question, reply) pairs once: those in work are shared, recent ones remembered.

    A missing reward and an error are not remembered: they are asked for again when the pair comes again.
    Called by roll_out and score_row, many at a time on one event loop; waits for the sandbox, then for the judge.
    """

    def __init__(self, syntax: SyntaxCheck, judge: Judge, weights: RewardConfig) -> None:
        self._syntax = syntax
        self._judge = judge
        self._weights = weights
        self._known: OrderedDict[tuple[str, str], asyncio.Task[Reward]] = OrderedDict()

    async def __call__(self, question: str, reply: str) -> Reward:
        key = (question, reply)
        task = self._known.get(key)
        again = task is not None
        if task is None:
            task = asyncio.create_task(reward(question, reply, self._syntax, self._judge, self._weights))
            self._known[key] = task
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        try:
            judged = await asyncio.shield(task)
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
    """The reward as a flat JSON object: a row of schema.REWARD_SCHEMA, a part of records.Rollout."""
    values = {head: judged.verdicts[head].value if head in judged.verdicts else None for head in Head}
    used = judged.usage.values()
    return {
        "value": judged.value,
        **{head.value: value for head, value in values.items()},
        "reasons": {head.value: verdict.reason for head, verdict in judged.verdicts.items()},
        "by": {head.value: verdict.by for head, verdict in judged.verdicts.items() if verdict.by},
        "calls": sum(usage.tries for usage in used),
        "cache_hits": sum(usage.cached for usage in used),
        "prompt_tokens": sum(usage.prompt_tokens for usage in used),
        "completion_tokens": sum(usage.completion_tokens for usage in used),
        "cost_usd": sum(usage.cost_usd for usage in used),
        "latency_s": {head.value: round(usage.latency_s, 4) for head, usage in judged.usage.items()},
        "seconds": round(judged.seconds, 4),
    }
