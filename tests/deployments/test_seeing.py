"""An evaluation's detector and depth model on Ray: as those of one process, in memory only while somebody looks."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from ray import serve

from deployments.ports import RemoteDepth, RemoteDetector
from deployments.serving import running_ray, seeing
from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ServiceError
from valor_ray.images import from_array
from valor_ray.records import DepthMap, Detection, Picture
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene
from valor_ray.wiring import Eyes, eyes

CONFIG = Config.load("local")
PHRASES = ("red box", "green ball", "cone")


@pytest.fixture(scope="module")
def ray_runs() -> Iterator[None]:
    with running_ray(CONFIG, lambda line: None):
        serve.start(proxy_location="Disabled")
        yield


def pictures() -> list[Picture]:
    return [from_array(render(sample_scene(seed, "tiles"), size=256).rgb) for seed in range(12)]


Seen = list[tuple[list[Detection], DepthMap]]


async def look(through: Eyes) -> Seen:
    """At all pictures at a time, as the evaluation does."""

    async def one(picture: Picture) -> tuple[list[Detection], DepthMap]:
        return await through.detector.detect(picture, PHRASES), await through.depth.depth(picture)

    return list(await asyncio.gather(*(one(picture) for picture in pictures())))


def replicas() -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if is_eye(process)]


def is_eye(process: psutil.Process) -> bool:
    try:
        ours = process.environ().get("VALOR_TEST_SESSION") == os.environ["VALOR_TEST_SESSION"]
        return ours and any("ServeReplica:valor-de" in word for word in process.cmdline())
    except psutil.Error:
        return False


@pytest.mark.timeout(600)
def test_what_they_see_is_what_models_of_this_process_see(ray_runs: None, tmp_path: Path) -> None:
    """Twice, as before and after learning; nothing of them stays."""
    said: list[str] = []

    async def nearby() -> Seen:
        async with eyes(CONFIG) as through:
            return await look(through)

    async def on_ray() -> Seen:
        async with seeing(CONFIG, tmp_path, said.append) as handles:
            assert len(replicas()) == 2
            return await look(
                Eyes(RemoteDetector(handles["detector"], patient=True), RemoteDepth(handles["depth"]))
            )

    expected = asyncio.run(nearby())
    assert sum(len(detections) for detections, _ in expected) > 5
    for _ in range(2):
        for (boxes, depth), (near_boxes, near_depth) in zip(asyncio.run(on_ray()), expected, strict=True):
            assert [box.label for box in boxes] == [box.label for box in near_boxes]
            for box, near in zip(boxes, near_boxes, strict=True):
                assert tuple(box.bbox) == pytest.approx(tuple(near.bbox), abs=1e-2)
                assert box.score == pytest.approx(near.score, abs=1e-4)
            np.testing.assert_allclose(depth.depth, near_depth.depth, rtol=1e-4)
        assert serve.status().applications == {} and replicas() == []
    assert any(line.startswith("detector ready") for line in said)


@pytest.mark.timeout(600)
def test_one_that_cannot_start_says_why_and_leaves_nothing(ray_runs: None, tmp_path: Path) -> None:
    broken = tmp_path / "detector"
    shutil.copytree(resolve_model("tabletop:detector"), broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])

    async def on_ray() -> None:
        async with seeing(Config.load("local", [f"detector.model={broken}"]), tmp_path):
            raise AssertionError("it has started")

    with pytest.raises(ServiceError, match=r"detector did not start: .*CheckpointError"):
        asyncio.run(on_ray())
    assert serve.status().applications == {} and replicas() == []
