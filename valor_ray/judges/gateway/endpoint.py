"""The calls of one endpoint: a request is tried, with pauses, hedges and other forms, until there is an answer or a
reason why there is none.

request → its turn (admission) → try, and a hedge beside it → read against the schema → answer, or again
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.asked import Asked, Contents, Took
from valor_ray.judges.gateway.call.answer import read_answer
from valor_ray.judges.gateway.call.body import Form, Forms, request_body, tokens_in, tokens_of
from valor_ray.judges.gateway.call.failures import GO_ON, explain, name_of
from valor_ray.judges.gateway.call.free_text import Fields, FreeText, read_texts, text_body
from valor_ray.judges.gateway.call.hedge import Hedge
from valor_ray.judges.gateway.call.outcome import ENDPOINT_DOWN, HOPELESS, NO_ANSWER, HttpKind, HttpOutcome
from valor_ray.judges.gateway.call.reply import EMPTY
from valor_ray.judges.gateway.call.transport import Transport
from valor_ray.judges.gateway.ledger import LedgerPort
from valor_ray.judges.gateway.limits.admission import Admission
from valor_ray.judges.gateway.limits.spending import LimitReached, Purse
from valor_ray.records import JudgeRequest, Usage

if TYPE_CHECKING:
    from valor_ray.config.judging import Endpoint, GatewayConfig

_log = logging.getLogger(__name__)
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.1, 8.0
_MOST_DOUBLINGS = 10  # of the first: a long wait may bring more tries than a power has room for
_BROKEN_TRIES = 2  # a reply that breaks the schema is asked for once more
_LOOK_AGAIN_S = 0.25  # for a hedge, while it is not known how long calls usually take
_TRIES_AT_A_TIME = 3  # of one request: a hedge may hang, too
_ENDED_FOR_S = 10.0  # after an end the endpoint is tried anew: a key, a quota, a limit may have been mended
_REFUSED_ALL = 8  # first requests refused in the same words: so will be the others
_REFUSED_IN_A_ROW = 24  # with 403, after answers: a key that was withdrawn
_TOLD = 50  # characters by which words are the same
_FIRST_TOKENS = (1200, 200)  # of a call, before one was seen, for the limit in dollars
_SMOOTHING = 0.1  # of what calls take
_COMPLETIONS = (HttpKind.ANSWERED, HttpKind.REFUSED, HttpKind.CUT)  # paid for, whoever says how much


@dataclass
class _Work:
    """What happened to one request so far."""

    request: JudgeRequest
    form: Form
    started: float
    n: int  # samples that are asked for together
    names: dict[str, str]  # of the request's fields, as call.free_text.Fields
    body: bytes = b""
    tries: int = 0
    failures: int = 0
    broken: int = 0
    throttled: int = 0
    hedged: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    out: set[object] = field(default_factory=set)  # tries whose request was sent, and that have not ended


class EndpointCalls:
    """Brings requests to one endpoint: as many at a time as it takes, never more than the account allows.

    Made and called by Gateway; of one event loop. `answer` waits for its turn, the endpoint and the request's patience;
    `end` is by itself, when every further call must fail: then nothing goes out for a while, and later one may again.
    """

    def __init__(
        self,
        config: Endpoint,
        settings: GatewayConfig,
        ledger: LedgerPort,
        section: str,
        owner: str,
        api_key: str | None,
    ) -> None:
        """As of Gateway. Raises ConfigError when a variable that holds a secret is not set."""
        self._config, self._settings, self._ledger, self._section = config, settings, ledger, section
        self._owner = owner
        self._transport = Transport(config, config.access(section, api_key))
        account = f"{config.address} {config.api_key_env} {config.model}"  # limits are a model's
        self.admission = Admission(
            config, ledger, account, settings.first_in_flight, self._purse, self._on_spent
        )
        self._forms = Forms(config.answer_format)
        self._fields = Fields()
        self._hedge = Hedge()
        self._answered = False  # whether the endpoint ever answered
        self._refused: tuple[str, int] = ("", 0)  # how it refused, and how often since it answered
        self._fatal: JudgeError | None = None
        self._fatal_since = 0.0
        self._ended = asyncio.Event()
        self._owed_usd = 0.0  # paid, and not in the ledger yet
        self._each_usd = self._cost(*_FIRST_TOKENS)
        self._each_completion = float(_FIRST_TOKENS[1])  # tokens, of a sample
        self._said: set[str] = set()
        self.totals = {"tries": 0, "hedges": 0}
        self.took = Took()

    @property
    def up(self) -> bool:
        """Whether the endpoint is thought to answer."""
        return not self._is_ended() and not self.admission.breaker.open

    def check(self) -> None:
        """Raises JudgeError while every call must fail."""
        if self._is_ended():
            assert self._fatal is not None
            raise type(self._fatal)(str(self._fatal))
        if self._fatal is not None:
            self._fatal, self._refused = None, ("", 0)
            self._ended.clear()

    async def close(self) -> None:
        self.admission.close()
        await self._transport.close()

    async def answer(self, request: JudgeRequest, n: int = 1) -> Asked:
        """n: samples to ask for in one call, the request's and those after it. Raises JudgeError when every call to
        this endpoint must fail (key, quota, model, address, limit)."""
        form, names = self._forms.of(request.head), self._fields.names(request)
        work = _Work(request, form, time.monotonic(), n, names)
        self._hedge.on_call()
        try:
            asked = await self._within_patience(work)
        except JudgeError:
            await self._for_nothing(work)
            raise
        if asked.content is None:
            await self._for_nothing(work)
        else:
            self.took.calls += 1
            self.took.latency_s += asked.usage.latency_s
            self.took.prompt_tokens += asked.usage.prompt_tokens
            self.took.completion_tokens += asked.usage.completion_tokens
        return asked

    def stored(self, usage: Usage) -> None:
        """The ledger has what an answer cost."""
        self._owed_usd = max(0.0, self._owed_usd - usage.cost_usd)

    async def _within_patience(self, work: _Work) -> Asked:
        patience = self._settings.patience_s if work.request.patience_s is None else work.request.patience_s
        try:
            async with asyncio.timeout(patience + 1e-3):
                outcome, (content, *others) = await self._until_answered(work)
        except TimeoutError:
            reason = f"The {name_of(self._section)} did not answer within {patience:g} s in all."
            if work.throttled:
                reason += f" {self._explain(HttpOutcome(HttpKind.THROTTLED, status=429))}"
            return Asked(None, "impatient", reason, self._usage(work), work.throttled, work.hedged)
        why = "" if content is not None else self._explain(outcome)
        usage = self._usage(work)
        return Asked(content, outcome.kind.value, why, usage, work.throttled, work.hedged, tuple(others))

    async def _until_answered(self, work: _Work) -> tuple[HttpOutcome, Contents]:
        """Tries, with pauses, until there is an answer or the retries are used up."""
        while True:
            self.check()
            work.body = self._body(work)
            charged = await self.admission.enter()
            outcome, contents = self._read(work, await self._hedged(work, charged))
            if contents[0] is not None:
                return outcome, contents
            self.check()
            if (names := self._without(work, outcome)) is not None:
                work.names = names
                continue
            if outcome.kind is HttpKind.UNSTRUCTURED:
                if (again := self._other_form(work, outcome)) is not None:
                    return again, (None,)
                continue
            if outcome.kind in NO_ANSWER:
                return outcome, (None,)
            if outcome.kind is HttpKind.THROTTLED:
                work.throttled += 1
            elif outcome.kind in ENDPOINT_DOWN:
                # while it is down, failing is nobody's fault and waiting is right, unless it has its own patience
                work.failures += self.up or work.request.patience_s is not None
            else:
                work.broken += 1
                work.form = Form(work.form.kind, True)  # what it did not heed it may read
            if work.failures > self._settings.retries or work.broken >= _BROKEN_TRIES:
                return outcome, (None,)
            doubled = min(work.failures + work.throttled, _MOST_DOUBLINGS)
            longest = min(_FIRST_BACKOFF_S * 2**doubled, _LONGEST_BACKOFF_S)
            await self._pause((outcome.retry_after_s or 0) + random.uniform(0, longest))

    def _body(self, work: _Work) -> bytes:
        request, config = work.request, self._config
        if isinstance(request, FreeText):
            return text_body(request, config.model, config.extra, work.names, work.n)
        return request_body(request, config.model, config.extra, work.form)

    def _without(self, work: _Work, outcome: HttpOutcome) -> dict[str, str] | None:
        """The fields to try next, where a refusal names one that may be left out."""
        rejected = outcome.kind is HttpKind.REJECTED
        return self._fields.refused(work.names, outcome.text) if rejected else None

    def _read(self, work: _Work, outcome: HttpOutcome) -> tuple[HttpOutcome, Contents]:
        """The answer; where there is none that can be read, an outcome that says so."""
        if isinstance(work.request, FreeText):
            return self._read_text(work, work.request, outcome)
        if outcome.kind is not HttpKind.ANSWERED:
            return outcome, (None,)
        content, why = read_answer(outcome, work.request.schema)
        if content is None:
            return replace(outcome, kind=HttpKind.CUT if outcome.cut else HttpKind.BROKEN, text=why), (None,)
        self._forms.read(work.request.head, work.form)
        self.took.forms.add(work.form.kind)
        return outcome, (content,)

    def _read_text(
        self, work: _Work, request: FreeText, outcome: HttpOutcome
    ) -> tuple[HttpOutcome, Contents]:
        contents = read_texts(request, outcome, again=work.broken + 1 < _BROKEN_TRIES)
        if outcome.kind is HttpKind.UNSTRUCTURED:  # there is no form that it could be asked in
            return replace(outcome, kind=HttpKind.REJECTED), contents
        if contents[0] is None and outcome.kind is HttpKind.ANSWERED:
            return replace(outcome, kind=HttpKind.BROKEN, text=EMPTY), contents
        if contents[0] is not None and (otherwise := self._fields.answered(work.names)):
            self._say_once(
                f"{self._section}: {self._config.model} at {self._config.address} does not take {otherwise}. "
                f"{self._section}.extra can say so from the start."
            )
        return outcome, contents

    def _other_form(self, work: _Work, outcome: HttpOutcome) -> HttpOutcome | None:
        """Goes over to the next form for the schema; an outcome when there is none."""
        head, form = work.request.head, work.form
        other = self._forms.refused(head, form)
        if other is not None:
            work.form = other
            self._say_once(
                f"{self._section}: {self._config.model} at {self._config.address} does not take {form.kind} "
                f"({outcome.text[:80]}): asked with {other.kind}. "
                f"{self._section}.answer_format={other.kind} saves the try."
            )
            return None
        if self._forms.fixed and form.kind != "prompt":
            self._end(JudgeError(self._explain(outcome)))
            self.check()
        return replace(outcome, kind=HttpKind.REJECTED)

    async def _pause(self, seconds: float) -> None:
        """Ends early with the endpoint."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def _hedged(self, work: _Work, charged: int) -> HttpOutcome:
        """One try, and further ones beside it while it takes much longer than calls usually do."""
        tasks = {asyncio.create_task(self._try(work, charged))}
        since = time.monotonic()  # the newest try
        not_before = since  # as a hedge that got 429 was told
        outcome = HttpOutcome(HttpKind.TIMEOUT)
        try:
            while tasks:
                may_hedge = self._settings.hedge and len(tasks) < _TRIES_AT_A_TIME
                late = may_hedge and await self._is_late(tasks, max(since, not_before))
                if late and (charged_too := self.admission.try_hedge()) is not None:
                    since = time.monotonic()
                    self._hedge.on_hedge()
                    self.totals["hedges"] += 1
                    work.hedged = True
                    tasks.add(asyncio.create_task(self._try(work, charged_too)))
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
            while work.out:
                work.out.pop()
                self._enter_unheard(work)

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

    async def _try(self, work: _Work, charged: int) -> HttpOutcome:
        """One HTTP request, and what it teaches the controllers. Its turn has been taken."""
        state, breaker = self.admission.concurrency, self.admission.breaker
        started, this = time.monotonic(), object()
        work.tries += 1
        self.totals["tries"] += 1
        try:
            outcome = await self._transport.post(work.body, lambda: work.out.add(this))
        except BaseException:  # cancelled: a hedge was faster, or nobody waits any more
            state.on_abandoned()
            breaker.on_abandoned()
            self.admission.pump()
            raise
        now = time.monotonic()
        if this in work.out and outcome.kind is HttpKind.TIMEOUT:
            self._enter_unheard(work)
        else:
            self._enter_account(work, outcome)
        work.out.discard(this)
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
                _log.warning("%s: %s answers again.", self._section, self._config.address)
            said = (outcome.prompt_tokens, outcome.completion_tokens)
            if said != (None, None):
                await self.admission.settle(charged, (said[0] or 0) + (said[1] or 0))
        if (error := self._hopeless(work, outcome)) is not None:
            self._end(error)
        self.admission.pump()
        return outcome

    def _hopeless(self, work: _Work, outcome: HttpOutcome) -> JudgeError | None:
        """Why every further call must fail, if this one says so."""
        if outcome.kind in _COMPLETIONS:
            self._answered, self._refused = True, ("", 0)
        if outcome.kind in HOPELESS or (outcome.kind is HttpKind.MISNAMED and not self._answered):
            return JudgeError(self._explain(outcome))
        if outcome.kind is HttpKind.THROTTLED and (outcome.retry_after_s or 0.0) > self._settings.patience_s:
            return JudgeError(
                f"{self._explain(outcome)} It wants {outcome.retry_after_s:,.0f} s of patience; {self._section}."
                f"patience_s has {self._settings.patience_s:g}. {GO_ON}"
            )
        if outcome.kind is not HttpKind.REJECTED or outcome.status == 413:
            return None
        if work.n > 1 or self._without(work, outcome) is not None:
            return None  # there is another way to ask
        words, times = self._refused
        start = outcome.text[:_TOLD]
        self._refused = (start, times + 1 if words == start or outcome.status == 403 else 1)
        most = _REFUSED_ALL if not self._answered else _REFUSED_IN_A_ROW if outcome.status == 403 else None
        if most is None or self._refused[1] < most:
            return None
        return JudgeError(f"{self._explain(outcome)} It has refused the last {most} requests so.")

    def _end(self, error: JudgeError) -> None:
        """Nothing further goes out; what is out is waited for, read and stored."""
        self._fatal, self._fatal_since = error, time.monotonic()
        self._ended.set()
        self.admission.fail(error)  # nobody waits for a key that is refused

    def _is_ended(self) -> bool:
        return self._fatal is not None and time.monotonic() - self._fatal_since < _ENDED_FOR_S

    def _purse(self) -> Purse | None:
        most = self._config.max_cost_usd
        if most is None:
            return None
        out = self.admission.concurrency.in_flight
        return Purse(self._owner, self._config.model, most, self._each_usd, out, self._owed_usd)

    def _on_spent(self, spent_usd: float) -> None:
        key = f"{self._section}.max_cost_usd"
        self._end(
            LimitReached(
                f"{key}={self._config.max_cost_usd:g} is reached: {self._config.model!r} has cost ${spent_usd:.4f}, "
                f"failed tries included, and a further call costs about ${self._each_usd:.4f}. "
                f"{GO_ON.removesuffix('.')}, with a higher {key}."
            )
        )

    def _enter_account(self, work: _Work, outcome: HttpOutcome) -> None:
        """What a try took; where a completion does not say, about that much."""
        paid = outcome.kind in _COMPLETIONS
        self.took.usage_said &= not paid or None not in (outcome.prompt_tokens, outcome.completion_tokens)
        tokens = (
            outcome.prompt_tokens if outcome.prompt_tokens is not None else tokens_of(work.request) * paid,
            outcome.completion_tokens
            if outcome.completion_tokens is not None
            else sum(tokens_in(each.text) for each in (outcome, *outcome.others)) * paid,
        )
        if paid:
            self._each_completion += _SMOOTHING * (tokens[1] / work.n - self._each_completion)
        self._enter(work, *tokens)

    def _enter_unheard(self, work: _Work) -> None:
        """A try that was sent, and is waited for no longer: its completion is made all the same, and to be paid."""
        self._enter(work, tokens_of(work.request), round(self._each_completion * work.n))

    def _enter(self, work: _Work, prompt_tokens: int, completion_tokens: int) -> None:
        work.prompt_tokens += prompt_tokens
        work.completion_tokens += completion_tokens
        cost = self._cost(prompt_tokens, completion_tokens)
        self._owed_usd += cost
        if cost:
            self._each_usd += _SMOOTHING * (cost - self._each_usd)

    async def _for_nothing(self, work: _Work) -> None:
        """What was paid for tries without an answer."""
        usage = self._usage(work)
        if usage.prompt_tokens or usage.completion_tokens:
            await self._ledger.paid_for_nothing(self._config.model, usage)
            self.stored(usage)

    def _cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self._config.price_in + completion_tokens * self._config.price_out) / 1e6

    def _usage(self, work: _Work) -> Usage:
        return Usage(
            latency_s=time.monotonic() - work.started,
            prompt_tokens=work.prompt_tokens,
            completion_tokens=work.completion_tokens,
            cost_usd=self._cost(work.prompt_tokens, work.completion_tokens),
            tries=work.tries,
            model=self._config.model,
        )

    def _explain(self, outcome: HttpOutcome) -> str:
        return explain(outcome, self._config, self._section)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            _log.warning("%s", line)
