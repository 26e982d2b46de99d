"""Ctrl-C while Ray starts is kept for later, once; while it ends it is not heard."""

from __future__ import annotations

import signal

import pytest

from deployments.running.signals import ctrl_c_waits, undisturbed

STOPS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def handlers() -> object:
    before = {number: signal.getsignal(number) for number in STOPS}
    for number in STOPS:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("stop", STOPS)
def test_the_first_waits_for_the_end_of_the_start(stop: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), ctrl_c_waits():
        signal.raise_signal(stop)
        done.append("started")
        signal.signal(signal.SIGTERM, lambda number, frame: None)  # as Ray does
    assert done == ["started"]
    assert all(signal.getsignal(number) is signal.default_int_handler for number in STOPS)


@pytest.mark.parametrize("stop", STOPS)
def test_the_second_does_not_wait(stop: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), ctrl_c_waits():
        signal.raise_signal(stop)
        signal.raise_signal(stop)
        done.append("started")
    assert not done


def test_what_fails_in_the_start_is_not_lost_where_nobody_stopped_it() -> None:
    with pytest.raises(ValueError, match="no memory"), ctrl_c_waits():
        raise ValueError("no memory")


@pytest.mark.parametrize("stop", STOPS)
def test_cleaning_up_hears_neither(stop: signal.Signals) -> None:
    with undisturbed():
        signal.raise_signal(stop)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(stop)
