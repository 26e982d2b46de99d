"""The breaker and the hedge as tables of events."""

from __future__ import annotations

from valor_ray.judges.gateway.call.hedge import Hedge
from valor_ray.judges.gateway.limits.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, OPENS_AFTER, Breaker


def opened() -> Breaker:
    breaker = Breaker()
    told = [breaker.on_failure(0.0) for _ in range(OPENS_AFTER)]
    assert told == [False] * (OPENS_AFTER - 1) + [True]
    return breaker


def test_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker()
    for _ in range(20):
        breaker.on_failure(0.0)
        breaker.on_answer()
    assert not breaker.open and opened().open


def test_one_probe_at_a_time_after_growing_pauses() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(6):
        pause = breaker.next_probe() - now
        pauses.append(pause)
        assert not breaker.allows(now + pause * 0.9)
        now += pause
        assert breaker.allows(now)
        breaker.on_start()
        assert not breaker.allows(now)
        assert not breaker.on_failure(now)
    assert pauses[0] == FIRST_PAUSE_S and pauses[-1] == LONGEST_PAUSE_S
    assert breaker.on_answer() and breaker.allows(now) and not breaker.on_answer()


def test_probe_that_is_given_up_lets_another_go() -> None:
    breaker = opened()
    breaker.on_start()
    breaker.on_abandoned()
    assert breaker.allows(10.0)


def test_nothing_is_hedged_before_latencies_are_known_and_few_calls_after() -> None:
    hedge = Hedge()
    assert hedge.after_s() is None
    for i in range(100):
        hedge.on_call()
        hedge.on_answer(0.3 + 0.001 * i)
    after = hedge.after_s()
    assert after is not None and 0.45 < after < 0.65
    for _ in range(11):
        hedge.on_hedge()
    assert hedge.after_s() is None
