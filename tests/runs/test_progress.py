"""Rate and time left: of this start's items alone, and never guessed from one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from valor_ray.errors import StorageError
from valor_ray.grounding.mine.outcome import Kind, Outcome
from valor_ray.grounding.mine.progress import Progress as Mining
from valor_ray.reasoning.scoring.fate import Fate
from valor_ray.reasoning.scoring.progress import Progress as Scoring
from valor_ray.runs import progress
from valor_ray.runs.progress import Pace, Speaking, span


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


class FullDisk:
    def __init__(self) -> None:
        self.tries = 0

    def append(self, record: object) -> None:
        self.tries += 1
        raise StorageError("No space left on device. Free some.")


def mining(disk: Any, say: Callable[[str], None]) -> Speaking:
    speaking = Mining("pictures", 2, disk, say, lambda: "", every_s=0.01)
    speaking.count(Outcome(Kind.MINED, {}))
    return speaking


def scoring(disk: Any, say: Callable[[str], None]) -> Speaking:
    speaking = Scoring(2, disk, say, lambda: "", every_s=0.01)
    speaking.count(Fate.SCORED, {"calls": 4})
    return speaking


@pytest.mark.parametrize(
    ("work", "line"), [(mining, "1/2 pictures"), (scoring, "1/2 replies, 0.0/s, 4 calls")]
)
def test_a_full_disk_ends_the_block_and_not_the_thread(
    monkeypatch: pytest.MonkeyPatch, work: Any, line: str
) -> None:
    """The thread goes on speaking; the driver is told when the block ends."""
    crashed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", crashed.append)
    disk, said = FullDisk(), list[str]()
    with pytest.raises(StorageError, match="Free some"), work(disk, said.append):
        deadline = time.monotonic() + 10
        while (disk.tries < 2 or not said) and time.monotonic() < deadline:
            time.sleep(0.01)
        before = disk.tries
    assert before >= 2 and said and said[0].startswith(line) and crashed == []
