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
from valor_ray.records import Picture

LONGEST_S = 40.0


class Model:
    """Gives each picture its grey level in place of a map; a pass ends when it may."""

    def __init__(self, config: Any) -> None:
        self.passes: list[list[int]] = []
        self.go = threading.Event()

    def depth(self, pictures: Sequence[Picture]) -> list[int]:
        self.passes.append([grey(picture) for picture in pictures])
        assert self.go.wait(LONGEST_S)
        if 13 in self.passes[-1]:
            raise ValueError("13")
        return self.passes[-1]


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
    return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), LONGEST_S)


def test_pictures_that_come_while_a_pass_runs_share_the_next(part: Any) -> None:
    assert asyncio.run(while_busy(part, [1, 2, 2, 3, 4])) == [0, 1, 2, 2, 3, 4]
    assert part._model.passes == [[0], [1, 2, 3], [4]]


def test_a_picture_on_which_the_model_fails_fails_alone(part: Any) -> None:
    zero, one, bad, two = asyncio.run(while_busy(part, [1, 13, 2]))
    assert (zero, one, two) == (0, 1, 2) and isinstance(bad, ValueError)
    assert part._model.passes == [[0], [1, 13, 2], [1], [13], [2]]
