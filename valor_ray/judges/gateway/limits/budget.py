"""An account's requests and tokens per minute, leased in blocks to any number of gateways: pure, without a clock.

The endpoint must not see more than the limit in ANY 60 s. Leases are paced (one permit every `spacing`), may run ahead
by a small burst, and end after LEASE_S. A permit of time t reaches the endpoint between t and t + LEASE_S + JITTER_S,
so a window of 60 s holds at most those granted in 60 + LEASE_S + JITTER_S seconds, plus the burst:
(60 + LEASE_S + JITTER_S) / spacing + burst = limit. A budget that starts (again) starts with its burst spent, so a
restart grants nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from valor_ray.judges.gateway.limits.spending import Purse

Limits = tuple[int | None, int | None]  # requests and tokens per minute
WINDOW_S = 60.0
LEASE_S = 0.5  # how long a permit may be used
JITTER_S = 0.3  # between use and the endpoint's clock
BURST_SHARE = 0.02  # of the limit


@dataclass(frozen=True)
class Lease:
    granted: int  # requests that may be sent
    wait_s: float  # when to ask again, if fewer were granted than wanted
    lasts_s: float  # for how long the permits hold, from the moment of granting
    spent_usd: float | None = None  # set when there is no money for a further call; what was spent


class Lender(Protocol):
    """Whoever keeps the accounts' budgets, near or far: Admission asks it for permits, and waits for a round trip."""

    async def lease(
        self, account: str, limits: Limits, requests: int, tokens_each: int, purse: Purse | None = None
    ) -> Lease: ...

    async def settle(self, account: str, tokens_estimated: int, tokens_used: int) -> None: ...


class _Pace:
    """Units that come one by one: a leaky bucket that never runs ahead by more than the burst."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._burst = max(1.0, per_minute * BURST_SHARE)
        usable = max(per_minute - self._burst, per_minute * 0.5)
        self._spacing = (WINDOW_S + LEASE_S + JITTER_S) / usable
        self._due = now  # when the next unit comes, were none saved up
        self._start(now)

    def _start(self, now: float) -> None:
        self._due = now + self._spacing

    def ready(self, now: float) -> float:
        """Units that may be taken now. Below 1 when the pace is ahead of itself."""
        self._due = max(self._due, now - (self._burst - 1) * self._spacing)
        return (now - self._due) / self._spacing + 1

    def take(self, units: float) -> None:
        self._due += units * self._spacing

    def wait(self, now: float, units: float) -> float:
        """Seconds until so many can be taken."""
        return max(0.0, (min(units, self._burst) - self.ready(now)) * self._spacing)


class Budget:
    """The pace of one account: what is granted never exceeds its limits in any 60 s, whoever leases.

    Kept and called by Ledger, one for all gateways of an account. Waits for nothing: it answers how long to wait.
    """

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None, now: float) -> None:
        self._requests = None if requests_per_minute is None else _Pace(requests_per_minute, now)
        self._tokens = None if tokens_per_minute is None else _Pace(tokens_per_minute, now)

    def lease(self, now: float, wanted: int, tokens_each: int) -> Lease:
        """Up to `wanted` requests of about so many tokens each; tokens are charged now and settled later."""
        granted, wait = wanted, 0.0
        if self._requests is not None:
            granted = min(granted, int(self._requests.ready(now) + 1e-9))
            wait = self._requests.wait(now, 1)
        if self._tokens is not None and tokens_each > 0:
            ready = self._tokens.ready(now)
            granted = min(granted, int(ready / tokens_each) if ready >= tokens_each else int(ready >= 1))
            wait = max(wait, self._tokens.wait(now, tokens_each))
        granted = max(granted, 0)
        if self._requests is not None:
            self._requests.take(granted)
        if self._tokens is not None:
            self._tokens.take(granted * tokens_each)
        return Lease(granted, 0.0 if granted else max(wait, 0.005), LEASE_S)

    def settle(self, tokens_estimated: int, tokens_used: int) -> None:
        """What a call really took, against what was charged for it."""
        if self._tokens is not None:
            self._tokens.take(tokens_used - tokens_estimated)
