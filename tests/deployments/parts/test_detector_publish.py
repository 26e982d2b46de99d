"""Detectors published to two replicas of a real Ray, which answer all the while; nobody else says what they serve."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from bases import BASES
from ray import serve
from ray.serve.handle import DeploymentHandle
from safetensors.torch import load_file, save_file

from deployments.actors.named import NAMESPACE
from deployments.actors.publications import open_publications, publications_name, publish_detector
from deployments.parts.detector import DetectorDeployment
from deployments.serving import running_ray
from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError, ServiceError
from valor_ray.images import from_array
from valor_ray.records import Picture
from valor_ray.runs.publications import version_name
from valor_ray.runs.weight_channel import publish_by_file
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene

APP = "valor-test-detector"
PHRASES = ("red box", "green ball", "cone", "blue cylinder")
LIMIT = pytest.mark.timeout(300)
Said = tuple[str, str, list[tuple[float, ...]]]  # replica, version, boxes with score


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "run.json").write_text(json.dumps({"kind": "grounding"}))
    return folder


@pytest.fixture(scope="module")
def weights(run: Path) -> dict[str, Path]:
    """Versions 1 to 5, ever further away from the shipped detector, and one whose weights are no numbers."""
    torch.manual_seed(0)
    folders = {version_name(step): run / "weights" / version_name(step) for step in range(1, 6)}
    for step, folder in enumerate([*folders.values(), run / "weights" / "broken"], start=1):
        shutil.copytree(CHECKPOINTS / "detector", folder)
        state = load_file(folder / "model.safetensors")
        last = max(name for name in state if name.startswith("bbox_embed") and name.endswith("weight"))
        state[last] = state[last] + 0.02 * step * torch.randn_like(state[last])
        if folder.name == "broken":
            state[last][0, 0] = torch.nan
        save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folders


@pytest.fixture(scope="module")
def handle(run: Path, weights: dict[str, Path]) -> Iterator[DeploymentHandle]:
    """Two replicas, which say who they are with each answer, of a run that has not published yet."""
    config = Config.load("local", [*BASES, f"detector.follow={run}", "detector.max_batch=2"])

    class Telling(DetectorDeployment.func_or_class):
        async def tell(self, picture: Picture, phrases: tuple[str, ...]) -> Said:
            boxes = await self.detect(picture, phrases, None)
            return self._replica, boxes.version, [(*box.bbox, box.score) for box in boxes]

    part = serve.deployment(
        Telling,
        name="detector",
        num_replicas=2,
        max_ongoing_requests=20,
        health_check_period_s=1,
        ray_actor_options={"num_cpus": 0.4},
    )
    with running_ray(config, lambda line: None):
        yield serve.run(part.bind(config.detector), name=APP, route_prefix=None)


def picture(seed: int) -> Picture:
    return from_array(render(sample_scene(seed, "tiles"), size=128).rgb)


def state(run: Path) -> dict[str, Any]:
    return ray.get(open_publications(str(run)).status.remote())


def until(true: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def both_live(run: Path) -> None:
    """A replica whose beat is late counts as gone, and would not be waited for."""
    until(lambda: len(state(run)["live"]) == 2)


def all_carry(run: Path, version: str) -> None:
    until(lambda: (now := state(run))["version"] == version and not now["behind"] and len(now["live"]) == 2)


def tell(handle: DeploymentHandle, calls: int = 12) -> list[Said]:
    """The same question so often that it reaches both replicas."""

    async def ask() -> list[Said]:
        return await asyncio.gather(*(handle.tell.remote(picture(1), PHRASES) for _ in range(calls)))

    return asyncio.run(ask())


def versions(told: list[Said]) -> set[str]:
    return {version for _replica, version, _boxes in told}


@LIMIT
def test_start_weights_serve_until_something_is_published(handle: DeploymentHandle, run: Path) -> None:
    both_live(run)
    told = tell(handle)
    assert versions(told) == {"tabletop:detector"} and len({replica for replica, *_ in told}) == 2
    assert (state(run)["version"], state(run)["behind"]) == (None, [])
    assert not (run / "published.json").exists()
    replica = handle.status.remote().result()
    assert replica["version"] == "tabletop:detector" and replica["published"]["run"] == str(run)


@LIMIT
def test_both_carry_each_version_and_nothing_remembered_is_served_after_it(
    handle: DeploymentHandle, run: Path, weights: dict[str, Path]
) -> None:
    """The same picture each time, which both replicas remember."""
    boxes = [tell(handle)[0][2]]
    for version in (version_name(1), version_name(2), version_name(1)):
        both_live(run)
        carried = publish_detector(str(run), version, weights[version], 60)
        assert {answer.version for answer in carried} == {version} and len(carried) == 2
        assert len({answer.replica for answer in carried}) == 2
        told = tell(handle)
        assert versions(told) == {version} and all(each[2] == told[0][2] for each in told)
        boxes.append(told[0][2])
    assert boxes[1] == boxes[3] and len({tuple(each) for each in boxes}) == 3


@LIMIT
def test_no_request_fails_and_no_replica_goes_back_while_versions_come(
    handle: DeploymentHandle, run: Path, weights: dict[str, Path]
) -> None:
    order = [version_name(step) for step in (1, 2, 3, 4)]
    both_live(run)
    publish_detector(str(run), order[0], weights[order[0]], 60)
    told: list[tuple[float, float, Said]] = []
    done: dict[str, float] = {}

    async def client(number: int, over: asyncio.Event) -> None:
        place = number
        while not over.is_set():
            place += 7
            began = time.monotonic()
            said = await handle.tell.remote(picture(place % 40), PHRASES)
            told.append((began, time.monotonic(), said))

    async def main() -> None:
        over = asyncio.Event()
        clients = [asyncio.create_task(client(number, over)) for number in range(6)]
        await asyncio.sleep(0.5)
        for version in order[1:]:
            await asyncio.to_thread(publish_detector, str(run), version, weights[version], 60)
            done[version] = time.monotonic()
        await asyncio.sleep(0.5)
        over.set()
        await asyncio.gather(*clients)  # raises what any request did

    asyncio.run(main())
    by_replica: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for began, ended, (replica, version, _boxes) in told:
        by_replica[replica].append((began, ended, version))
    assert len(by_replica) == 2 and {each[2][1] for each in told} == set(order)
    for answers in by_replica.values():
        for began, _ended, version in answers:
            earlier = [order.index(other) for _, ended, other in answers if ended < began]
            assert order.index(version) >= max(earlier, default=0)
    for began, _ended, (_replica, version, _boxes) in told:
        assert all(order.index(version) >= order.index(name) for name, at in done.items() if at < began)
    while_loading = [began for began, *_ in told if began < done[order[-1]]]
    assert len(while_loading) > 20


@LIMIT
def test_what_cannot_be_loaded_is_refused_and_withdrawn(
    handle: DeploymentHandle, run: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    both_live(run)
    publish_detector(str(run), version_name(2), weights[version_name(2)], 60)
    before = tell(handle)[0]
    shutil.copytree(weights[version_name(5)], tmp_path / "cut")
    data = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(data[:-1000])
    shutil.copytree(weights[version_name(5)], tmp_path / "odd")
    config = json.loads((tmp_path / "odd" / "config.json").read_text())
    (tmp_path / "odd" / "config.json").write_text(json.dumps(config | {"decoder_layers": 1}))
    folders = (tmp_path / "cut", tmp_path / "none", tmp_path / "odd", run / "weights" / "broken")
    for folder, words in zip(folders, ("cut short", "missing", "refused by", "no numbers"), strict=True):
        with pytest.raises(CheckpointError, match=words):
            publish_detector(str(run), version_name(5), folder, 60)
        all_carry(run, before[1])
        assert json.loads((run / "published.json").read_text())["version"] == before[1]
        assert {(version, tuple(boxes)) for _, version, boxes in tell(handle)} == {
            (before[1], tuple(before[2]))
        }
    assert state(run)["withdrawn"]["version"] == version_name(5)


@LIMIT
def test_what_another_process_publishes_is_taken_up_and_its_file_left_alone(
    handle: DeploymentHandle, run: Path, weights: dict[str, Path]
) -> None:
    """As `valor train grounding` on a Ray of its own does."""
    both_live(run)
    publish_by_file(run, version_name(5), weights[version_name(5)])
    all_carry(run, version_name(5))
    assert versions(tell(handle)) == {version_name(5)}
    publish_by_file(run, version_name(6), run / "weights" / "broken")
    until(lambda: (state(run)["withdrawn"] or {}).get("version") == version_name(6))
    all_carry(run, version_name(5))
    assert json.loads((run / "published.json").read_text())["version"] == version_name(6)
    assert versions(tell(handle)) == {version_name(5)}


@LIMIT
def test_a_killed_replica_and_a_killed_actor_come_back_with_what_is_published(
    handle: DeploymentHandle, run: Path, weights: dict[str, Path]
) -> None:
    both_live(run)
    publish_detector(str(run), version_name(3), weights[version_name(3)], 60)
    before = set(state(run)["live"])
    os.kill(next(filter(is_detector, psutil.process_iter())).pid, signal.SIGKILL)
    until(lambda: len(set(state(run)["live"]) - before) == 1)
    until(lambda: serve.status().applications[APP].deployments["detector"].replica_states.get("RUNNING") == 2)
    until(lambda: len({replica for replica, *_ in tell(handle)} - before) == 1)
    assert versions(tell(handle)) == {version_name(3)}
    ray.kill(ray.get_actor(publications_name(str(run)), NAMESPACE), no_restart=False)
    all_carry(run, version_name(3))
    ray.kill(ray.get_actor(publications_name(str(run)), NAMESPACE))
    all_carry(run, version_name(3))  # of the actor that followers have made anew
    assert len(publish_detector(str(run), version_name(4), weights[version_name(4)], 60)) == 2
    assert versions(tell(handle)) == {version_name(4)}


@LIMIT
def test_nobody_is_waited_for_where_nobody_follows(
    handle: DeploymentHandle, tmp_path: Path, weights: dict[str, Path]
) -> None:
    version = version_name(1)
    assert publish_detector(str(tmp_path), version, weights[version], 60) == []
    assert json.loads((tmp_path / "published.json").read_text())["version"] == version
    ray.get(open_publications(str(tmp_path)).beat.remote("hanging", 0))
    with pytest.raises(ServiceError, match=rf"follows {tmp_path} carries step-000002 after 1 s \(hanging\)"):
        publish_detector(str(tmp_path), version_name(2), weights[version_name(2)], 1)


def is_detector(process: psutil.Process) -> bool:
    try:
        ours = process.environ().get("VALOR_TEST_SESSION") == os.environ["VALOR_TEST_SESSION"]
        return ours and any(f"ServeReplica:{APP}" in word for word in process.cmdline())
    except psutil.Error:
        return False
