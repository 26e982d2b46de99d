"""The concurrency controller as a table of events."""

from __future__ import annotations

import pytest

from valor_ray.judges.gateway.limits.concurrency import CUT_THROTTLED, Concurrency


def saturated_round(state: Concurrency, now: float, latency: float = 1.0) -> float:
    """Fill the limit, then have every call answered."""
    calls = state.limit - state.in_flight
    for _ in range(calls):
        assert state.may_start(now)
        state.on_start()
    for _ in range(calls):
        state.on_success(now + latency, latency)
        while state.may_start(now):  # the queue is long: every place is taken at once
            state.on_start()
    while state.in_flight:
        state.on_abandoned()
    return now + latency


def test_slow_start_doubles_each_round_up_to_the_most() -> None:
    state, now, seen = Concurrency(4, 50), 0.0, []
    for _ in range(5):
        now = saturated_round(state, now)
        seen.append(state.limit)
    assert seen == [8, 16, 32, 50, 50]


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    state = Concurrency(8, 64)
    for second in range(100):
        state.on_start()
        state.on_success(float(second), 0.5)
    assert state.limit == 8


def test_after_a_cut_growth_is_by_a_step_a_round() -> None:
    state = Concurrency(32, 640)
    for _ in range(4):
        state.on_start()
        state.on_throttled(0.0)
    before, now = state.limit, 10.0
    now = saturated_round(state, now)
    assert state.limit == before + 10


@pytest.mark.parametrize(("others", "kept"), [(0, 0.94), (97, 0.94)])
def test_one_429_is_a_hiccup(others: int, kept: float) -> None:
    state = Concurrency(100, 100)
    for _ in range(others):
        state.on_start()
        state.on_success(0.0, 0.3)
    state.on_start()
    state.on_throttled(1.0, retry_after_s=5)
    assert state.limit >= 100 * kept - 1 and state.may_start(1.0)


def test_a_hiccup_does_not_end_slow_start() -> None:
    state, now = Concurrency(32, 640), 0.0
    state.on_start()
    state.on_throttled(now)
    before = state.limit
    saturated_round(state, now + 1)
    assert state.limit == 2 * before


def test_calls_still_out_count_as_good() -> None:
    """Refusals come at once and answers take their time: four of sixty-four are no tenth."""
    state = Concurrency(64, 512)
    for _ in range(64):
        state.on_start()
    for _ in range(4):
        state.on_throttled(0.1, retry_after_s=1)
    assert state.may_start(0.2)
    for _ in range(4):
        state.on_throttled(0.2, retry_after_s=1)
    assert not state.may_start(0.3)


def test_many_429s_halve_the_limit_once_per_round_trip_and_stop_everybody() -> None:
    state = Concurrency(100, 100)
    for _ in range(40):
        state.on_start()
    for _ in range(40):  # one burst, all out before the first answer came
        state.on_throttled(1.0, retry_after_s=2)
    burst = state.limit
    assert burst > 90  # the first of them was cut for; the rest were out already
    assert not state.may_start(2.9) and state.may_start(3.0)
    state.on_start()
    state.on_throttled(5.0)
    assert state.limit == pytest.approx(burst * (1 - CUT_THROTTLED), abs=1)


def test_failures_cut_more_gently_than_429s_and_never_pause() -> None:
    failing, throttled = Concurrency(100, 100), Concurrency(100, 100)
    for second in range(10):
        for state in (failing, throttled):
            state.on_start()
        failing.on_failure(float(second))
        throttled.on_throttled(float(second))
    assert throttled.limit < failing.limit < 100
    assert failing.may_start(9.0)


def test_the_limit_never_falls_below_one() -> None:
    state = Concurrency(2, 10)
    for second in range(200):
        state.on_start()
        state.on_throttled(float(second))
    assert state.limit == 1 and state.may_start(1000.0)


def test_abandoned_calls_only_leave_their_place() -> None:
    state = Concurrency(2, 10)
    state.on_start()
    state.on_start()
    assert not state.may_start(0.0)
    state.on_abandoned()
    assert state.may_start(0.0) and state.gauges()["in_flight"] == 1
