"""The judge gateway: never pays twice, never exceeds the account, loses nothing (DESIGN §6). No Ray in it.

One Gateway speaks to one endpoint. A request goes: disk cache and single flight (ledger) → tries until it is answered
(endpoint: its turn, back-off, a hedge, the schema) → stored → given out.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.answers import StoredAnswer, answer_of, request_key
from valor_ray.judges.gateway.asked import Asked, Took, apart
from valor_ray.judges.gateway.call.outcome import HttpKind
from valor_ray.judges.gateway.drawn import Draws, Fetch
from valor_ray.judges.gateway.endpoint import EndpointCalls
from valor_ray.judges.gateway.ledger import BUSY, CLAIM_S, Claimed, LedgerPort
from valor_ray.records import JudgeReply, JudgeRequest, Usage
from valor_ray.runs.together import Together

if TYPE_CHECKING:
    from valor_ray.config.judging import Endpoint, GatewayConfig

_log = logging.getLogger(__name__)
_STORE_AFTER_S = 0.005  # answers that come together are stored together


@dataclass(frozen=True)
class CallEvent:
    """One finished request, for metrics and accounts."""

    head: str
    outcome: str  # HttpKind, or "cached", "broken", "impatient"
    verdict: str  # the "verdict" field of the answer, if it has one
    usage: Usage
    throttled: int  # tries that got 429
    hedged: bool


class Gateway:
    """ports.Judge over one endpoint: each request is answered from the ledger or paid for once, whatever goes wrong.

    Called by whoever judges, straight or through SharingJudges and VotingJudges; of the event loop of its first call.
    `ask` waits for its turn, the endpoint and the disk, at most for the patience of each request; what another gateway
    is asking waits for that one. `close` ends its connections and what is still in flight.
    """

    def __init__(
        self,
        config: Endpoint,
        settings: GatewayConfig,
        ledger: LedgerPort,
        api_key: str | None = None,
        observe: Callable[[CallEvent], None] | None = None,
        section: str = "judge",
        *,
        use_n: bool = False,
    ) -> None:
        """`api_key`: what to send, None: what `config.api_key_env` names. Raises ConfigError when that is not set.

        section: of the settings that `config` stands in, for messages: "judge", "vlm", "judge.others[0]".
        use_n: several samples of one request (FreeText) are asked for in one call, if the endpoint takes it.
        """
        if config.base_url is None:
            raise JudgeError(
                f"{section}.base_url is not set: start the offline judge first and pass its URL."
            )
        self.config = config
        self._section = section
        self._ledger = ledger
        self._observe = observe or (lambda event: None)
        self._owner = uuid.uuid4().hex
        self._calls = EndpointCalls(config, settings, ledger, section, self._owner, api_key)
        self._flying: dict[str, asyncio.Task[JudgeReply]] = {}
        self._draws = Draws(self._ask_endpoint, self._ask_together, self._say_no_n, use_n=use_n)
        self._storing = Together(self._store_together, _STORE_AFTER_S)
        self._renewing: asyncio.Task[None] | None = None
        self._releasing: set[asyncio.Task[None]] = set()
        self._warned = False
        self._totals = {"calls": 0, "cache_hits": 0, "missing": 0, "cost_usd": 0.0}

    @property
    def up(self) -> bool:
        """Whether the endpoint is thought to answer."""
        return self._calls.up

    @property
    def took(self) -> Took:
        """What its answers have taken, those from the ledger apart."""
        return self._calls.took

    def gauges(self) -> dict[str, float]:
        state = self._calls.admission.concurrency.gauges()
        return {**state, "breaker_open": float(not self.up), **self._totals, **self._calls.totals}

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """All at the same time. Raises JudgeError when every call to this endpoint must fail (key, quota, model,
        address, limit in dollars), once what is in flight has been answered and stored: it is paid for."""
        self._calls.check()
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
        keys = [request_key(request, self.config.model, self.config.extra) for request in requests]
        tasks = {key: self._flying[key] for key in keys if key in self._flying}
        shared = set(tasks)
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in tasks}
        claims = await self._claim(list(new)) if new else ()
        known: dict[str, JudgeReply] = {}
        fetched: dict[str, bool] = {}  # key -> whether we hold the claim
        unused: list[str] = []  # claims that we hold and will not use
        for (key, request), claim in zip(new.items(), claims, strict=True):
            if claim is not None and claim != BUSY:
                known[key] = self._cached(request, claim)
            elif key in self._flying:  # another call of ours came in between
                tasks[key] = self._flying[key]
                shared.add(key)
                if claim is None:
                    # that one was told BUSY before we were told to ask: it waits for this claim
                    unused.append(key)
            else:
                fetched[key] = claim is None
        tasks |= self._start({key: new[key] for key in fetched}, fetched)
        self._give_up(unused)
        waiting = []
        for key in keys:
            if key not in known:
                waiting.append(_shared(tasks[key]) if key in shared else asyncio.shield(tasks[key]))
                shared.add(key)
        try:
            answers = iter(await asyncio.gather(*waiting)) if waiting else iter(())
        except JudgeError:
            await self._landed_all()
            raise
        return [known[key] if key in known else next(answers) for key in keys]

    async def _claim(self, keys: Sequence[str]) -> Sequence[Claimed]:
        """As the ledger's. What it grants to somebody who has hung up meanwhile is given up: no request would ever be
        answered that waits for a claim of ours which nobody uses."""
        claiming = asyncio.create_task(self._ledger.claim(keys, self._owner))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            claiming.add_done_callback(partial(self._unclaim, keys))
            raise

    def _unclaim(self, keys: Sequence[str], claiming: asyncio.Task[Sequence[Claimed]]) -> None:
        if claiming.cancelled() or claiming.exception() is not None:
            return
        self._give_up([key for key, claim in zip(keys, claiming.result(), strict=True) if claim is None])

    def _give_up(self, keys: Sequence[str]) -> None:
        """Claims of ours that nobody uses, whoever still waits here."""
        if keys:
            releasing = asyncio.create_task(self._ledger.release(self._owner, keys))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._released)

    def _released(self, releasing: asyncio.Task[None]) -> None:
        self._releasing.discard(releasing)
        if not releasing.cancelled():
            releasing.exception()  # a ledger that is gone holds no claims

    def _start(
        self, requests: Mapping[str, JudgeRequest], mine: Mapping[str, bool]
    ) -> dict[str, asyncio.Task[JudgeReply]]:
        """A task for each request that nobody of ours fetches yet. mine: whether we hold the claim."""
        ways = self._draws.of({key: request for key, request in requests.items() if mine[key]})
        tasks = {}
        for key, request in requests.items():
            way = ways.get(key) or partial(self._ask_endpoint, request)
            tasks[key] = self._flying[key] = asyncio.create_task(self._fetch(key, request, mine[key], way))
            tasks[key].add_done_callback(partial(self._landed, key))
        return tasks

    async def close(self) -> None:
        self._draws.close()
        for task in (self._renewing, *self._flying.values()):
            if task is not None:
                task.cancel()
        await self._storing.all_sent()
        await self._calls.close()

    async def _landed_all(self) -> None:
        """At most for the time of a try."""
        if self._flying:
            await asyncio.wait(self._flying.values(), timeout=self.config.timeout_s)
        await self._storing.all_sent()

    def _landed(self, key: str, task: asyncio.Task[JudgeReply]) -> None:
        del self._flying[key]
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; perhaps nobody does

    def _cached(self, request: JudgeRequest, answer: StoredAnswer) -> JudgeReply:
        self._totals["cache_hits"] += 1
        usage = Usage(cached=True, model=answer.model)
        self._tell(request, "cached", answer.content, usage)
        return JudgeReply(answer.content, usage=usage)

    async def _fetch(self, key: str, request: JudgeRequest, mine: bool, way: Fetch) -> JudgeReply:
        """Ask the endpoint, or wait for another gateway that is asking the same."""
        if not mine:
            answer = await self._ledger.wait(key, self._owner)
            if answer is not None:
                return self._cached(request, answer)
        stored = False
        try:
            reply = await way()
            if reply.content is not None:
                await self._storing((key, answer_of(reply.content, self.config.model, reply.usage)))
                self._calls.stored(reply.usage)
                stored = True
            return reply
        finally:
            if not stored:
                await self._ledger.release(self._owner, [key])

    async def _ask_endpoint(self, request: JudgeRequest) -> JudgeReply:
        self._totals["calls"] += 1
        return self._reply(request, await self._calls.answer(request))

    async def _ask_together(self, request: JudgeRequest, n: int) -> list[JudgeReply | None]:
        """As drawn.Together: nothing of a call that is refused, which may be because of `n`."""
        self._totals["calls"] += 1
        asked = await self._calls.answer(request, n)
        if asked.content is None and asked.outcome == HttpKind.REJECTED:
            return []
        failed = asked.content is None
        return [
            self._reply(request, part) if failed or part.content is not None else None
            for part in apart(asked, n)[:n]
        ]

    def _reply(self, request: JudgeRequest, asked: Asked) -> JudgeReply:
        self._totals["missing"] += asked.content is None
        self._tell(request, asked.outcome, asked.content or {}, asked.usage, asked)
        return JudgeReply(asked.content, asked.missing, asked.usage, asked.outcome)

    def _say_no_n(self, why: str) -> None:
        _log.warning(
            "%s: %s at %s %s: each sample is asked for alone. %s.use_n=false saves the try.",
            self._section, self.config.model, self.config.address, why, self._section,
        )  # fmt: skip

    async def _store_together(self, answers: list[tuple[str, StoredAnswer]]) -> list[None]:
        warning = await self._ledger.store(self._owner, dict(answers))
        if warning and not self._warned:
            self._warned = True
            _log.warning("%s: %s", self._section, warning)
        return [None] * len(answers)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_S / 3)
            if self._flying:
                await self._ledger.renew(self._owner)

    def _tell(
        self,
        request: JudgeRequest,
        outcome: str,
        content: Mapping[str, Any],
        usage: Usage,
        asked: Asked | None = None,
    ) -> None:
        self._totals["cost_usd"] += usage.cost_usd
        throttled, hedged = (asked.throttled, asked.hedged) if asked else (0, False)
        verdict = str(content.get("verdict", ""))[:10]
        self._observe(CallEvent(request.head, outcome, verdict, usage, throttled, hedged))


async def _shared(task: asyncio.Task[JudgeReply]) -> JudgeReply:
    """The answer to an equal request in flight: paid for once."""
    reply = await asyncio.shield(task)
    return replace(reply, usage=Usage(reply.usage.latency_s, cached=True, model=reply.usage.model))
