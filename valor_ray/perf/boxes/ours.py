"""Our way to check boxes, as mining does it: several pictures at a time, all calls of a check together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from valor_ray.config.grounding import GroundingConfig
from valor_ray.config.judging import JudgeConfig
from valor_ray.judges.boxes.checks import check_boxes
from valor_ray.perf.boxes.account import Figures, cpu_s
from valor_ray.perf.boxes.load import Work
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.ports import Judge


@dataclass(frozen=True)
class Side:
    """Whom check_boxes asks, and how."""

    judge: Judge
    grounding: GroundingConfig
    vlm: JudgeConfig


def numbered(work: Sequence[Work], number: int) -> list[Work]:
    """The same pictures with labels that were never asked about: no answer to them is remembered."""
    return [
        replace(
            each, candidates=tuple(replace(box, label=f"{box.label} {number}") for box in each.candidates)
        )
        for each in work
    ]


async def check_all(side: Side, work: Iterable[Work], mock: MockJudge, at_a_time: int) -> Figures:
    """Figures of taking all pictures through the three checks, so many at a time."""
    before, calls = cpu_s(mock.pid), (await asyncio.to_thread(mock.stats))["calls"]
    started = time.perf_counter()
    ahead = iter(work)
    shares = await asyncio.gather(*(_worker(side, ahead) for _ in range(at_a_time)))
    wall, cpu = time.perf_counter() - started, cpu_s(mock.pid) - before
    calls = (await asyncio.to_thread(mock.stats))["calls"] - calls
    kept = [number for share in shares for number in share]
    return Figures(len(kept), wall, cpu, calls, sum(kept))


async def _worker(side: Side, ahead: Iterator[Work]) -> list[int]:
    """Takes the next picture whenever it is done with one. How many boxes of each were kept."""
    kept = []
    for each in ahead:
        checked = await check_boxes(side.judge, each.picture, each.candidates, side.grounding, side.vlm)
        kept.append(sum(box.kept is True for box in checked.boxes))
    return kept
