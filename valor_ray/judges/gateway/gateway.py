"""The judge gateway: never pays twice, never exceeds the account, loses nothing (DESIGN §6). No Ray in it.

One Gateway speaks to one endpoint. A request goes: disk cache and single flight (ledger) → its turn (admission) → tries
with back-off and a hedge → checked against its schema → stored → given out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.answers import StoredAnswer, request_key
from valor_ray.judges.gateway.call.failures import explain, name_of
from valor_ray.judges.gateway.call.hedge import Hedge
from valor_ray.judges.gateway.call.schema import fits
from valor_ray.judges.gateway.call.transport import (
    ENDPOINT_DOWN,
    HttpKind,
    HttpOutcome,
    Transport,
    request_body,
)
from valor_ray.judges.gateway.ledger import BUSY, CLAIM_S, LedgerPort
from valor_ray.judges.gateway.limits.admission import Admission
from valor_ray.records import JudgeReply, JudgeRequest, Usage
from valor_ray.runs.together import Together

if TYPE_CHECKING:
    from valor_ray.config.judging import Endpoint, JudgeConfig

_log = logging.getLogger(__name__)
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.1, 8.0
_BROKEN_TRIES = 2  # a reply that breaks the schema is asked for once more
_LOOK_AGAIN_S = 0.25  # for a hedge, while it is not known how long calls usually take
_TRIES_AT_A_TIME = 3  # of one request: a hedge may hang, too
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


@dataclass
class _Work:
    """What happened to one request so far."""

    request: JudgeRequest
    started: float
    tries: int = 0
    failures: int = 0
    broken: int = 0
    throttled: int = 0
    hedged: bool = False


class Gateway:
    """ports.Judge over one endpoint: each request is answered from the ledger or paid for once, whatever goes wrong.

    Called by whoever judges, straight or through SharingJudges and VotingJudges; of the event loop of its first call.
    `ask` waits for its turn, the endpoint and the disk, at most for the patience of each request; what another gateway
    is asking waits for that one. `close` ends its connections and what is still in flight.
    """

    def __init__(
        self,
        config: Endpoint,
        settings: JudgeConfig,
        ledger: LedgerPort,
        api_key: str | None = None,
        observe: Callable[[CallEvent], None] | None = None,
        section: str = "judge",
    ) -> None:
        """`api_key`: what to send, None: what `config.api_key_env` names. Raises ConfigError when that is not set.

        section: of the settings that `config` stands in, for messages: "judge", "vlm", "judge.others[0]".
        """
        if config.base_url is None:
            raise JudgeError(
                f"{section}.base_url is not set: start the offline judge first and pass its URL."
            )
        self.config = config
        self._section = section
        self._settings = settings
        self._ledger = ledger
        self._observe = observe or (lambda event: None)
        self._transport = Transport(config, api_key if api_key is not None else config.api_key(section))
        self._account = f"{config.base_url} {config.api_key_env} {config.model}"  # limits are a model's
        self._admission = Admission(config, ledger, self._account, settings.first_in_flight)
        self._hedge = Hedge()
        self._owner = uuid.uuid4().hex
        self._flying: dict[str, asyncio.Task[JudgeReply]] = {}
        self._storing = Together(self._store_together, _STORE_AFTER_S)
        self._renewing: asyncio.Task[None] | None = None
        self._answered = False  # whether the endpoint ever answered
        self._fatal: JudgeError | None = None
        self._warned = False
        self._totals = {"calls": 0, "cache_hits": 0, "tries": 0, "missing": 0, "hedges": 0, "cost_usd": 0.0}

    @property
    def up(self) -> bool:
        """Whether the endpoint is thought to answer."""
        return self._fatal is None and not self._admission.breaker.open

    def gauges(self) -> dict[str, float]:
        return {**self._admission.concurrency.gauges(), "breaker_open": float(not self.up), **self._totals}

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """All at the same time. Raises JudgeError when every call to this endpoint must fail (key, model, address)."""
        if self._fatal is not None:
            raise self._fatal
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
        keys = [request_key(request, self.config.model, self.config.extra) for request in requests]
        tasks = {key: self._flying[key] for key in keys if key in self._flying}
        shared = set(tasks)
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in tasks}
        claims = await self._ledger.claim(list(new), self._owner) if new else ()
        known: dict[str, JudgeReply] = {}
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
                tasks[key] = self._flying[key] = asyncio.create_task(self._fetch(key, request, claim is None))
                tasks[key].add_done_callback(partial(self._landed, key))
        if unused:
            await self._ledger.release(self._owner, unused)
        waiting = []
        for key in keys:
            if key not in known:
                waiting.append(_shared(tasks[key]) if key in shared else asyncio.shield(tasks[key]))
                shared.add(key)
        answers = iter(await asyncio.gather(*waiting)) if waiting else iter(())
        return [known[key] if key in known else next(answers) for key in keys]

    async def close(self) -> None:
        for task in (self._renewing, *self._flying.values()):
            if task is not None:
                task.cancel()
        await self._storing.all_sent()
        self._admission.close()
        await self._transport.close()

    def _landed(self, key: str, task: asyncio.Task[JudgeReply]) -> None:
        del self._flying[key]
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; perhaps nobody does

    def _cached(self, request: JudgeRequest, answer: StoredAnswer) -> JudgeReply:
        self._totals["cache_hits"] += 1
        usage = Usage(cached=True, model=answer.model)
        self._tell(request, "cached", answer.content, usage)
        return JudgeReply(answer.content, usage=usage)

    async def _fetch(self, key: str, request: JudgeRequest, mine: bool) -> JudgeReply:
        """Ask the endpoint, or wait for another gateway that is asking the same."""
        if not mine:
            answer = await self._ledger.wait(key, self._owner)
            if answer is not None:
                return self._cached(request, answer)
        stored = False
        try:
            reply = await self._ask_endpoint(request)
            if reply.content is not None:
                await self._store(key, reply)
                stored = True
            return reply
        finally:
            if not stored:
                await self._ledger.release(self._owner, [key])

    async def _ask_endpoint(self, request: JudgeRequest) -> JudgeReply:
        work = _Work(request, time.monotonic())
        patience = self._settings.patience_s if request.patience_s is None else request.patience_s
        body = request_body(request, self.config.model, self.config.extra)
        self._totals["calls"] += 1
        self._hedge.on_call()
        try:
            async with asyncio.timeout(patience + 1e-3):
                outcome, content = await self._until_answered(work, body)
        except TimeoutError:
            reason = f"The {name_of(self._section)} did not answer within {patience:g} s in all."
            if work.throttled:
                reason += f" {self._explain(HttpOutcome(HttpKind.THROTTLED, status=429))}"
            return self._missing(work, "impatient", reason)
        if content is None:
            return self._missing(work, outcome.kind.value, self._explain(outcome))
        usage = self._usage(work, outcome)
        self._tell(request, "answered", content, usage, work)
        return JudgeReply(content, usage=usage)

    async def _until_answered(self, work: _Work, body: bytes) -> tuple[HttpOutcome, Mapping[str, Any] | None]:
        """Tries, with pauses, until there is an answer or the retries are used up."""
        while True:
            await self._admission.enter()
            outcome = await self._hedged(work, body)
            if self._fatal is not None:
                raise self._fatal
            content = _content(outcome, work.request.schema)
            if content is not None or outcome.kind in (HttpKind.REFUSED, HttpKind.REJECTED):
                return outcome, content
            if outcome.kind is HttpKind.THROTTLED:
                work.throttled += 1
            elif outcome.kind in ENDPOINT_DOWN:
                # while it is down, failing is nobody's fault and waiting is right, unless it has its own patience
                work.failures += self.up or work.request.patience_s is not None
            else:
                outcome = replace(outcome, kind=HttpKind.BROKEN, text=repr(outcome.text[:120]))
                work.broken += 1
            if work.failures > self._settings.retries or work.broken >= _BROKEN_TRIES:
                return outcome, None
            longest = min(_FIRST_BACKOFF_S * 2 ** (work.failures + work.throttled), _LONGEST_BACKOFF_S)
            await asyncio.sleep((outcome.retry_after_s or 0) + random.uniform(0, longest))

    async def _hedged(self, work: _Work, body: bytes) -> HttpOutcome:
        """One try, and further ones beside it while it takes much longer than calls usually do."""
        tasks = {asyncio.create_task(self._try(work, body))}
        since = time.monotonic()  # the newest try
        not_before = since  # as a hedge that got 429 was told
        outcome = HttpOutcome(HttpKind.TIMEOUT)
        try:
            while tasks:
                may_hedge = self._settings.hedge and len(tasks) < _TRIES_AT_A_TIME
                late = may_hedge and await self._is_late(tasks, max(since, not_before))
                if late and self._admission.try_hedge():
                    since = time.monotonic()
                    self._hedge.on_hedge()
                    self._totals["hedges"] += 1
                    work.hedged = True
                    tasks.add(asyncio.create_task(self._try(work, body)))
                done, tasks = await asyncio.wait(
                    tasks, timeout=_LOOK_AGAIN_S if may_hedge else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    outcome = task.result()
                    if outcome.kind is HttpKind.ANSWERED:
                        return outcome
                    not_before = time.monotonic() + (outcome.retry_after_s or 0.0)
            return outcome
        finally:
            for task in tasks:
                task.cancel()

    async def _is_late(self, tasks: set[asyncio.Task[HttpOutcome]], since: float) -> bool:
        """Waits for the tries; True as soon as one more is worth it, False when one of them is done."""
        while not any(task.done() for task in tasks):
            after = self._hedge.after_s()
            waited = time.monotonic() - since
            if after is not None and waited >= after:
                return True
            # what is late is learnt while waiting: the first calls go out before any latency is known
            await asyncio.wait(
                tasks,
                timeout=_LOOK_AGAIN_S if after is None else after - waited,
                return_when=asyncio.FIRST_COMPLETED,
            )
        return False

    async def _try(self, work: _Work, body: bytes) -> HttpOutcome:
        """One HTTP request, and what it teaches the controllers. Its turn has been taken."""
        state, breaker = self._admission.concurrency, self._admission.breaker
        started = time.monotonic()
        work.tries += 1
        self._totals["tries"] += 1
        try:
            outcome = await self._transport.post(body)
        except BaseException:  # cancelled: a hedge was faster, or nobody waits any more
            state.on_abandoned()
            breaker.on_abandoned()
            self._admission.pump()
            raise
        now = time.monotonic()
        if outcome.kind in ENDPOINT_DOWN:
            state.on_failure(now)
            if breaker.on_failure(now):
                _log.warning("%s: %s Work waits until it is back.", self._section, self._explain(outcome))
        else:
            if outcome.kind is HttpKind.THROTTLED:
                state.on_throttled(now, outcome.retry_after_s)
            else:
                state.on_success(now, now - started)
                self._hedge.on_answer(now - started)
            if breaker.on_answer():
                _log.warning("%s: %s answers again.", self._section, self.config.base_url)
            if outcome.status == 200:
                self._answered = True
                await self._admission.settle(outcome.prompt_tokens + outcome.completion_tokens)
        hopeless = outcome.kind is HttpKind.MISNAMED and not self._answered
        if hopeless or outcome.kind in (HttpKind.FORBIDDEN, HttpKind.UNKNOWN):
            self._fatal = JudgeError(self._explain(outcome))
            self._admission.fail(self._fatal)  # nobody waits for a key that is refused
        self._admission.pump()
        return outcome

    async def _store(self, key: str, reply: JudgeReply) -> None:
        """On disk before it is used; answers that come together go together."""
        assert reply.content is not None
        usage = reply.usage
        answer = StoredAnswer(
            reply.content,
            usage.model,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cost_usd,
            time.time(),
        )
        await self._storing((key, answer))

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

    def _explain(self, outcome: HttpOutcome) -> str:
        return explain(outcome, self.config, self._section)

    def _usage(self, work: _Work, outcome: HttpOutcome) -> Usage:
        cost = (
            outcome.prompt_tokens * self.config.price_in + outcome.completion_tokens * self.config.price_out
        )
        return Usage(
            latency_s=time.monotonic() - work.started,
            prompt_tokens=outcome.prompt_tokens,
            completion_tokens=outcome.completion_tokens,
            cost_usd=cost / 1e6,
            tries=work.tries,
            model=self.config.model,
        )

    def _missing(self, work: _Work, outcome: str, reason: str) -> JudgeReply:
        self._totals["missing"] += 1
        usage = Usage(time.monotonic() - work.started, tries=work.tries, model=self.config.model)
        self._tell(work.request, outcome, {}, usage, work)
        return JudgeReply(None, reason, usage)

    def _tell(
        self,
        request: JudgeRequest,
        outcome: str,
        content: Mapping[str, Any],
        usage: Usage,
        work: _Work | None = None,
    ) -> None:
        self._totals["cost_usd"] += usage.cost_usd
        throttled, hedged = (work.throttled, work.hedged) if work else (0, False)
        verdict = str(content.get("verdict", ""))[:10]
        self._observe(CallEvent(request.head, outcome, verdict, usage, throttled, hedged))


async def _shared(task: asyncio.Task[JudgeReply]) -> JudgeReply:
    """The answer to an equal request in flight: paid for once."""
    reply = await asyncio.shield(task)
    return replace(reply, usage=Usage(reply.usage.latency_s, cached=True, model=reply.usage.model))


def _content(outcome: HttpOutcome, schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON object of an answer when it fits the schema. Halves of surrogate pairs become "?"."""
    if outcome.kind is not HttpKind.ANSWERED:
        return None
    try:
        value = json.loads(outcome.text)
        if "\\u" in outcome.text:  # else there are none: transport.py lets none through
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and fits(value, schema) else None
