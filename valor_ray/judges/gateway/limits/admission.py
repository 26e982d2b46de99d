"""Who may call the endpoint next: a queue behind the concurrency limit, the breaker, and the account's permits."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.limits.breaker import Breaker
from valor_ray.judges.gateway.limits.budget import Lender
from valor_ray.judges.gateway.limits.concurrency import Concurrency
from valor_ray.judges.gateway.limits.spending import Purse

if TYPE_CHECKING:
    from valor_ray.config.judging import Endpoint

_BLOCK = 16  # permits in one lease: more would lie unused in one replica while others wait
_FIRST_TOKENS = 1200  # of a call, before one was seen
_SMOOTHING = 0.05


class Admission:
    """Lets calls out in the order in which they came, never more than limit, breaker and account allow together.

    Called by Gateway, once for each try. Belongs to one event loop. Each turn that is given (`enter` returns, or a
    `try_…` does not give None: the tokens that the call was charged in advance, for `settle`) is followed by one of
    Concurrency's endings and `pump`; those who wait are let in by that, or by a timer.
    `enter` blocks until it is a call's turn, for minutes while the endpoint is down; the rest never waits but `settle`.
    """

    def __init__(
        self,
        config: Endpoint,
        lender: Lender,
        account: str,
        first: int,
        purse: Callable[[], Purse | None] = lambda: None,
        on_spent: Callable[[float], None] = lambda spent_usd: None,
    ) -> None:
        """purse: as it is now, where the endpoint has a limit in dollars; on_spent: told when nothing is left of it."""
        self.concurrency = Concurrency(first, config.max_in_flight)
        self.breaker = Breaker()
        self._limits = (config.requests_per_minute, config.tokens_per_minute)
        self._limited = self._limits != (None, None) or config.max_cost_usd is not None
        self._purse, self._on_spent = purse, on_spent
        self._lender = lender
        self._account = account
        self._queue: deque[asyncio.Future[int]] = deque()
        self._permits = 0
        self._charged = 0  # tokens, for each of them
        self._permits_end = 0.0
        self._leasing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tokens = float(_FIRST_TOKENS)

    @property
    def tokens_each(self) -> int:
        """What a call is expected to take, and is charged in advance from the next lease on."""
        return int(self._tokens)

    async def enter(self) -> int:
        """Wait for the turn of a call."""
        if not self._queue and (charged := self.try_enter()) is not None:
            return charged
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self.pump()
        try:
            return await turn
        except BaseException:
            had_come = turn.done() and not turn.cancelled() and turn.exception() is None
            if had_come:  # it passes on
                self.concurrency.on_abandoned()
                self.breaker.on_abandoned()
            self.pump()
            raise

    def try_enter(self) -> int | None:
        """Take a turn if there is one right now."""
        now = time.monotonic()
        if not self.concurrency.may_start(now) or not self.breaker.allows(now):
            return None
        if not self._take_permit(now):
            return None
        self.concurrency.on_start()
        self.breaker.on_start()
        return self._charged

    def try_hedge(self) -> int | None:
        """Take a turn beside the limit, for a second try of a call whose first may hang; a permit is still needed."""
        now = time.monotonic()
        if now < self.concurrency.paused_until or self.breaker.open or not self._take_permit(now):
            return None
        self.concurrency.on_start()
        return self._charged

    def pump(self) -> None:
        """Let in whoever may now; see to it that the next chance is not missed."""
        while self._queue:
            if self._queue[0].done():  # given up
                self._queue.popleft()
            elif (charged := self.try_enter()) is not None:
                self._queue.popleft().set_result(charged)
            else:
                self._wait_for_chance()
                return

    async def settle(self, charged: int, tokens: int) -> None:
        """A call took so many tokens. Where nobody says how many, what was charged in advance stands: do not call."""
        self._tokens += _SMOOTHING * (tokens - self._tokens)
        if self._limits[1] is not None:
            await self._lender.settle(self._account, charged, tokens)

    def fail(self, error: JudgeError) -> None:
        """Nobody's turn will come any more."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_exception(error)

    def close(self) -> None:
        for turn in self._queue:
            turn.cancel()
        if self._leasing is not None:
            self._leasing.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _take_permit(self, now: float) -> bool:
        if self._limited:
            if self._permits <= 0 or now >= self._permits_end:
                return False
            self._permits -= 1
        return True

    def _wait_for_chance(self) -> None:
        now = time.monotonic()
        if now < self.concurrency.paused_until:
            self._pump_at(self.concurrency.paused_until)
        elif self.breaker.open:
            self._pump_at(self.breaker.next_probe())  # or when the probe ends
        elif self.concurrency.may_start(now) and self._limited and self._leasing is None:
            self._leasing = asyncio.create_task(self._lease())

    def _pump_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = max(when - time.monotonic(), 0.0) + 0.001
        self._timer = asyncio.get_running_loop().call_later(delay, self.pump)

    async def _lease(self) -> None:
        wanted = min(len(self._queue), _BLOCK, max(1, self.concurrency.limit - self.concurrency.in_flight))
        asked = time.monotonic()  # the lease began no earlier than this
        each = self.tokens_each
        try:
            lease = await self._lender.lease(self._account, self._limits, wanted, each, self._purse())
        finally:
            self._leasing = None
        if lease.spent_usd is not None:
            self._on_spent(lease.spent_usd)
        elif lease.granted:
            self._permits, self._permits_end = lease.granted, asked + lease.lasts_s
            self._charged = each
            self.pump()
        else:
            self._pump_at(time.monotonic() + lease.wait_s)
