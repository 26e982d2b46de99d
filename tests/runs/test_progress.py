"""Rate and time left: of this start's items alone, and never guessed from one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from valor_ray.runs import progress
from valor_ray.runs.progress import Pace, span


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time stands still until a test moves it."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_rate_counts_from_the_first_item_and_not_from_the_start(clock: SimpleNamespace) -> None:
    pace = Pace(10)
    clock.now += 300  # the start of a service
    pace.count()
    assert (pace.rate(), pace.left_s()) == (0.0, None)
    clock.now += 20
    pace.count(2)
    assert (pace.rate(), pace.left_s()) == (0.1, 70.0)


def test_work_that_begins_at_once_has_a_rate_with_its_first_item(clock: SimpleNamespace) -> None:
    pace = Pace(8)
    pace.count(0)
    clock.now += 10
    pace.count(4)
    assert (pace.rate(), pace.left_s()) == (0.4, 10.0)


def test_recent_rate_forgets_what_was_before(clock: SimpleNamespace) -> None:
    recent, whole = Pace(1000, recent_s=30.0), Pace(1000)
    for items in (0, *[10] * 10, *[1] * 40):  # a second each: fast, then slow
        clock.now += 1
        for pace in (recent, whole):
            pace.count(items)
            rate = pace.rate()
        assert rate == whole.rate()
    assert (recent.rate(), whole.rate()) == (1.0, 140 / 50)


def test_recent_rate_falls_to_nothing_while_nothing_comes(clock: SimpleNamespace) -> None:
    pace = Pace(10, recent_s=30.0)
    pace.count()
    pace.count(4)
    for _ in range(40):
        clock.now += 1
        pace.rate()
    assert pace.rate() == 0.0 and pace.left_s() is None


def test_nothing_is_left_when_all_is_done(clock: SimpleNamespace) -> None:
    pace = Pace(1)
    pace.count()
    assert pace.left_s() == 0.0


def test_line_is_due_every_few_seconds_and_at_the_end(clock: SimpleNamespace) -> None:
    pace, due = Pace(20), []
    for second in range(1, 21):
        clock.now += 1
        pace.count()
        if pace.due(5.0):
            due.append(second)
    assert due == [6, 12, 18, 20]


def test_line_has_the_time_left_once_there_is_a_rate(clock: SimpleNamespace) -> None:
    pace = Pace(64)
    pace.count(4)
    assert pace.line("replies") == "4/64 replies"
    clock.now += 2
    pace.count(4)
    assert pace.line("replies") == "8/64 replies, 28 s left"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (600, "10 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (36000, "10.0 h"),
    ],
)
def test_time_is_said_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert span(seconds) == said
