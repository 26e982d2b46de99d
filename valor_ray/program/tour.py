"""What results of a program in symbolic scenes are worth: a SceneRun for each scene, whichever path it took.

Everything that a worker says is checked here; nothing of it is believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valor_ray.program.inside import protocol
from valor_ray.program.inside.scene_world import HANDED_ON, UNDECIDED, Stop
from valor_ray.records import ProgramResult, ProgramStatus, SceneRun

LIMITS = (ProgramStatus.TIMEOUT, ProgramStatus.KILLED)  # after one of them no further scene is tried
_MOST = 4096  # bytes of JSON of an answer in a scene
_SAME = 1e-6  # relative difference of numbers that are the same


class StrangeReply(Exception):
    """What no worker says."""


@dataclass(frozen=True)
class SceneResult:
    """A program's run in a scene: how it ended, and whether the scene's text ended it."""

    result: ProgramResult
    stop: Stop | None = None

    def run(self, level: str = "") -> SceneRun:
        result = self.result
        if self.stop is not None:
            return SceneRun(self.stop.kind, None, self.stop.text, self.stop.phrase, level or result.level)
        level = level or result.level
        if result.status is not ProgramStatus.OK:
            where = f" (line {result.line})" if result.line else ""
            return SceneRun("failed", None, f"{result.error}{where}", level=level)
        if len(protocol.body(result.answer)) > _MOST:
            return SceneRun("failed", None, f"final_answer is longer than {_MOST >> 10} KiB", level=level)
        return SceneRun("answered", result.answer, level=level)


@dataclass(frozen=True)
class ScenePair:
    """One scene: with detections in the scene's order, and in reverse where that may matter."""

    first: SceneResult
    second: SceneResult | None = None

    @property
    def status(self) -> ProgramStatus:
        return (self.second or self.first).result.status

    def run(self) -> SceneRun:
        first = self.first.run()
        second = self.second.run() if self.second else first
        if first.status != "answered" or second.status != "answered":
            return second if first.status == "answered" else first
        if not same(first.answer, second.answer):
            shown = [str(answer)[:40] for answer in (first.answer, second.answer)]
            why = f"the answer depends on the order of detections: {shown[0]}, in reverse {shown[1]}"
            return SceneRun("failed", None, why, level=first.level)
        return first


def runs_of(pairs: Sequence[ScenePair], scenes: int) -> list[SceneRun]:
    """A run for each scene; those that were not reached, because of a limit, fail for the same reason."""
    runs = [pair.run() for pair in pairs]
    return runs + [runs[-1]] * (scenes - len(runs))


def read_pairs(
    items: Any, scenes: int, read: Callable[[Mapping[str, Any]], ProgramResult]
) -> list[ScenePair]:
    """Of what a worker says. Raises StrangeReply."""
    try:
        pairs = [ScenePair(*(_read(item, read) for item in few)) for few in items]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StrangeReply(str(error)) from error
    ended = bool(pairs) and pairs[-1].status in (*LIMITS, ProgramStatus.REJECTED)
    if not 1 <= len(pairs) <= scenes or (len(pairs) < scenes and not ended):
        raise StrangeReply("results that do not fit the scenes")
    return pairs


def same(a: Any, b: Any) -> bool:
    """Equal JSON values, numbers nearly so, lists in any order."""
    if isinstance(a, int | float) and isinstance(b, int | float) and not isinstance(a, bool):
        return math.isclose(a, b, rel_tol=_SAME, abs_tol=1e-9)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, sorted(a, key=repr), sorted(b, key=repr)))
    return bool(a == b)


def _read(item: Mapping[str, Any], read: Callable[[Mapping[str, Any]], ProgramResult]) -> SceneResult:
    if item["status"] in (UNDECIDED, HANDED_ON):
        text, phrase = str(item["error"])[:600], str(item["phrase"])[:2000]
        return SceneResult(ProgramResult(ProgramStatus.ERROR, error=text), Stop(item["status"], text, phrase))
    result = read(item)
    if result.status is ProgramStatus.OK and result.answer is None:
        raise ValueError("no answer")
    return SceneResult(result)
