"""A judge that does not answer is told of once, when it has been seen twice; so is its return."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.mining.host import _RayMining
from deployments.parts import judge_watch
from deployments.parts.judge_watch import judge_trouble, judge_watched
from deployments.scoring import RayScoreHost
from valor_ray.config.tree import Config

DOWN = "the judge does not answer"


class Status:
    """A handle whose status is a dictionary, or an error."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self._answer = answer
        self.status = SimpleNamespace(remote=lambda: SimpleNamespace(result=self._result))

    def _result(self, timeout_s: float) -> dict[str, Any]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ({"endpoint": "http://judge", "breaker_open": 0.0}, ""),
        (
            {"endpoint": "http://judge", "breaker_open": 1.0},
            "http://judge does not answer; waiting until it does",
        ),
        (TimeoutError(), "the judge gateway does not answer (TimeoutError)"),
    ],
)
def test_trouble_is_a_line_for_the_user(answer: dict[str, Any] | Exception, trouble: str) -> None:
    assert judge_trouble(Status(answer)) == trouble  # type: ignore[arg-type]


def test_trouble_before_anything_is_started_imports_nothing_of_ray(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The progress thread asks after five seconds; on a slow machine the main thread still imports Ray then, and two
    that do so at once fail with "partially initialized module"."""
    scoring, mining = RayScoreHost(print), _RayMining(Config.load("local"), tmp_path / "vlm_cache", print)
    monkeypatch.setitem(sys.modules, "deployments.parts.judge_watch", None)  # importing it fails now
    assert scoring.trouble() == "" and mining.trouble() == ""


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (["", "", ""], []),
        (["", DOWN, ""], []),  # one slow answer on a busy machine is no trouble
        ([DOWN, DOWN, DOWN, DOWN], [DOWN]),
        ([DOWN, DOWN, "", DOWN, "", ""], [DOWN, "the judge answers again"]),
    ],
)
def test_watch_says_what_it_has_seen_twice_and_says_it_once(
    monkeypatch: pytest.MonkeyPatch, seen: list[str], said: list[str]
) -> None:
    looks, all_seen, lines = iter(seen), threading.Event(), list[str]()

    def look(handle: object, part: str) -> str:
        trouble = next(looks, None)
        if trouble is None:
            all_seen.set()
        return seen[-1] if trouble is None else trouble

    monkeypatch.setattr(judge_watch, "_WATCH_S", 0.001)
    monkeypatch.setattr(judge_watch, "judge_trouble", look)
    with judge_watched(None, lines.append):  # type: ignore[arg-type]
        assert all_seen.wait(60)
    assert lines == said
