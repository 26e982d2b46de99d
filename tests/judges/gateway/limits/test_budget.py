"""No endpoint sees more than the limit in any 60 s, however replicas use their leases; nearly all of it is usable."""

from __future__ import annotations

import heapq
import random

import pytest

from valor_ray.judges.gateway.limits.budget import JITTER_S, LEASE_S, Budget


def simulate(
    budget: Budget, replicas: int, seconds: float, seed: int, tokens: int = 0, block: int = 16
) -> list[float]:
    """Arrival times at the endpoint of replicas that always want more and use permits as late as they may."""
    rng = random.Random(seed)
    events = [(rng.random(), replica) for replica in range(replicas)]
    arrivals = []
    while events:
        now, replica = heapq.heappop(events)
        if now > seconds:
            continue
        lease = budget.lease(now, rng.randint(1, block), tokens)
        used = [now + rng.random() * (LEASE_S + JITTER_S) for _ in range(lease.granted)]
        arrivals += used
        wait = lease.wait_s if not lease.granted else rng.random() * 0.2
        heapq.heappush(events, (now + wait, replica))
    return sorted(arrivals)


def most_per_minute(arrivals: list[float]) -> int:
    most = start = 0
    for end, time in enumerate(arrivals):
        while time - arrivals[start] >= 60:
            start += 1
        most = max(most, end - start + 1)
    return most


@pytest.mark.parametrize(("limit", "replicas"), [(600, 4), (600, 1), (60, 4), (3000, 8)])
def test_no_window_holds_more_than_the_limit_and_most_of_it_is_used(limit: int, replicas: int) -> None:
    arrivals = simulate(Budget(limit, None, 0.0), replicas, 600, seed=limit + replicas)
    assert most_per_minute(arrivals) <= limit
    assert len(arrivals) / (limit * 10) >= 0.95


def test_idle_time_saves_up_no_more_than_the_burst() -> None:
    budget = Budget(600, None, 0.0)
    assert budget.lease(3600.0, 1000, 0).granted <= 12


def test_restart_grants_nothing_twice() -> None:
    arrivals = simulate(Budget(600, None, 0.0), 4, 30, seed=1)
    again = simulate(Budget(600, None, 0.0), 4, 60, seed=2)
    assert most_per_minute(arrivals + [30 + time for time in again]) <= 600


def test_tokens_bound_requests_and_are_settled() -> None:
    budget = Budget(None, 60_000, 0.0)
    granted = now = 0
    while now < 60:
        lease = budget.lease(float(now), 10, 1000)
        granted += lease.granted
        now += 1
    assert 50 <= granted <= 60
    before = budget.lease(120.0, 1, 1000)
    budget.settle(1000, 30_000)
    after = budget.lease(121.0, 1, 1000)
    assert before.granted == 1 and after.granted == 0 and after.wait_s > 20


def test_no_limit_grants_everything() -> None:
    assert Budget(None, None, 0.0).lease(0.0, 500, 10_000).granted == 500
