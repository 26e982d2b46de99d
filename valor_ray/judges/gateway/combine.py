"""Several judges: they share the work, or each judges everything and the majority counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.answers import request_key
from valor_ray.judges.gateway.limits.spending import LimitReached
from valor_ray.records import JudgeReply, JudgeRequest, Usage

if TYPE_CHECKING:
    from valor_ray.judges.gateway.gateway import Gateway


class SharingJudges:
    """ports.Judge over several gateways: a request goes to one, the same each time (so that caches fit).

    Made by `connect.open_judge` for judge.combine = share; called like a single gateway.
    Waits for the slowest of the gateways that it chose; while one is thought to be down, another takes its requests.
    """

    def __init__(self, gateways: Sequence[Gateway]) -> None:
        self.gateways = tuple(gateways)

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        chosen = [self._choose(request) for request in requests]
        replies: list[JudgeReply | None] = [None] * len(requests)

        async def one(gateway: Gateway) -> None:
            mine = [i for i, choice in enumerate(chosen) if choice is gateway]
            for i, reply in zip(mine, await gateway.ask([requests[i] for i in mine]), strict=True):
                replies[i] = reply

        await asyncio.gather(*(one(gateway) for gateway in dict.fromkeys(chosen)))
        return [reply for reply in replies if reply is not None]

    def _choose(self, request: JudgeRequest) -> Gateway:
        first = int(request_key(request, "")[:8], 16)
        order = [self.gateways[(first + i) % len(self.gateways)] for i in range(len(self.gateways))]
        return next((gateway for gateway in order if gateway.up), order[0])

    async def close(self) -> None:
        await asyncio.gather(*(gateway.close() for gateway in self.gateways))


class VotingJudges:
    """ports.Judge over several gateways, all asked everything: the majority's verdict; a tie is missing.

    Made by `connect.open_judge` for judge.combine = vote; called like a single gateway.
    Waits for the slowest of them all; one that fails for good is left out. Without verdicts (VQA) the first counts.
    """

    def __init__(self, gateways: Sequence[Gateway]) -> None:
        self.gateways = tuple(gateways)

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """A judge that fails for good is left out; JudgeError when all do, or one has reached its limit in dollars."""
        answers = await asyncio.gather(
            *(gateway.ask(requests) for gateway in self.gateways), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, LimitReached) or (
                isinstance(answer, BaseException) and not isinstance(answer, JudgeError)
            ):
                raise answer
        given = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not given:
            raise next(answer for answer in answers if isinstance(answer, JudgeError))
        return [vote(ballot) for ballot in zip(*given, strict=True)]

    async def close(self) -> None:
        await asyncio.gather(*(gateway.close() for gateway in self.gateways))


def vote(ballot: Sequence[JudgeReply]) -> JudgeReply:
    """The reply that most judges gave, by its verdict; the usage is that of all together."""
    usage = Usage(
        latency_s=max(reply.usage.latency_s for reply in ballot),
        prompt_tokens=sum(reply.usage.prompt_tokens for reply in ballot),
        completion_tokens=sum(reply.usage.completion_tokens for reply in ballot),
        cost_usd=sum(reply.usage.cost_usd for reply in ballot),
        tries=sum(reply.usage.tries for reply in ballot),
        cached=all(reply.usage.cached for reply in ballot),
        model="+".join(reply.usage.model for reply in ballot),
    )
    answered = [reply for reply in ballot if reply.content is not None]
    if not answered:
        return replace(ballot[0], usage=usage)
    said = Counter(str((reply.content or {}).get("verdict")) for reply in answered)
    ranked = said.most_common(2)
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        return JudgeReply(None, f"the judges disagree: {dict(said)}", usage)
    first = next(reply for reply in answered if str((reply.content or {}).get("verdict")) == ranked[0][0])
    return replace(first, usage=usage)
