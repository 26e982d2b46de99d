"""The depth deployment without Serve: what comes while a pass runs shares the next, and a picture is worked on once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from deployments.parts.depth import DepthDeployment
from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.records import DepthMap, Picture

LONGEST_S = 40.0


class Model:
    """A map that holds the picture's grey level; a pass ends when it may."""

    def __init__(self, config: Any) -> None:
        self.passes: list[list[int]] = []
        self.go = threading.Event()

    def depth(self, pictures: Sequence[Picture]) -> list[DepthMap]:
        self.passes.append([grey(picture) for picture in pictures])
        assert self.go.wait(LONGEST_S)
        if 13 in self.passes[-1]:
            raise ValueError("13")
        return [DepthMap(np.full((2, 2), level, np.float32), 1.0) for level in self.passes[-1]]


def grey(picture: Picture) -> int:
    return int(picture.rgb[0, 0, 0])


def picture(level: int) -> Picture:
    return from_array(np.full((8, 8, 3), level, np.uint8))


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("valor_ray.models.moge.depth.MoGe", Model)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    config = Config.load("local", ["depth.max_batch=3", "depth.batch_wait_s=0.001"]).depth
    return DepthDeployment.func_or_class(config)


async def while_busy(part: Any, levels: Sequence[int]) -> list[Any]:
    """Picture 0 alone, the others while its pass runs."""
    calls = [asyncio.create_task(part.depth(picture(0)))]
    while not part._model.passes:
        await asyncio.sleep(0.001)
    for level in levels:
        calls.append(asyncio.create_task(part.depth(picture(level))))
        await asyncio.sleep(0.005)  # longer than the wait for a batch: none may be closed meanwhile
    part._model.go.set()
    return await answers(calls)


async def answers(calls: Sequence[asyncio.Task[DepthMap]]) -> list[Any]:
    """Grey levels, or what was raised."""
    ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), LONGEST_S)
    return [one if isinstance(one, BaseException) else int(one.depth[0, 0]) for one in ended]


def test_pictures_that_come_while_a_pass_runs_share_the_next(part: Any) -> None:
    assert asyncio.run(while_busy(part, [1, 2, 2, 3, 4])) == [0, 1, 2, 2, 3, 4]
    assert part._model.passes == [[0], [1, 2, 3], [4]]


def test_a_picture_on_which_the_model_fails_fails_alone(part: Any) -> None:
    zero, one, bad, two = asyncio.run(while_busy(part, [1, 13, 2]))
    assert (zero, one, two) == (0, 1, 2) and isinstance(bad, ValueError)
    assert part._model.passes == [[0], [1, 13, 2], [1], [13], [2]]


def test_a_picture_whose_caller_has_hung_up_takes_no_place_in_a_pass(part: Any) -> None:
    async def run() -> list[Any]:
        calls = [asyncio.create_task(part.depth(picture(0)))]
        while not part._model.passes:
            await asyncio.sleep(0.001)
        calls += [asyncio.create_task(part.depth(picture(level))) for level in (1, 2, 2, 3)]
        await asyncio.sleep(0.005)
        gone = calls[1], calls[2]  # of the second, another one waits on
        for call in gone:
            call.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        part._model.go.set()
        return await answers([call for call in calls if call not in gone])

    assert asyncio.run(run()) == [0, 2, 3]
    assert part._model.passes == [[0], [2, 3]]


def test_maps_are_kept_by_their_bytes_too(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part._cache, "_most_bytes", 3 * 16)

    async def run() -> None:
        part._model.go.set()
        for level in (1, 2, 3, 4, 4, 1):
            await part.depth(picture(level))
        assert (await part.status())["cached"] == 3

    asyncio.run(run())
    assert part._model.passes == [[1], [2], [3], [4], [1]]
    assert part._cache._most == 64
