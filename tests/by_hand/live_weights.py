"""By hand, until it has passed ten times: weights sent from a learner's memory into policy replicas on a real Ray.

    python -m pytest -m slow tests/by_hand/live_weights.py

Over gloo: no file is written, answers are the same, a replica may die between two versions and while it receives. About
3 minutes on two free cores.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from ray import serve
from ray.serve.handle import DeploymentHandle
from transformers import AutoModelForCausalLM

from deployments.actors.publications import (
    close_publications,
    following,
    open_publications,
    publish,
    publish_live,
)
from deployments.app import policy_app
from deployments.serving import running_ray
from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.errors import ValorError
from valor_ray.reasoning.learner.learned_weights import Parts
from valor_ray.reasoning.learner.live_channel import LiveChannel
from valor_ray.runs.publications import Transfer, version_name
from valor_ray.runs.weight_channel import FileChannel, Probe, Published

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]
APP = "valor-test-live"
CONFIG = Config.load("local", ["policy.replicas=2", "policy.max_tokens=40", "policy.weight_transfer=gloo"])
PROBE: Probe = [([5, 6, 7, 8], list(range(20, 60)))]


class OfModel:
    def __init__(self, model: Any) -> None:
        self.model = model

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)

    def parts(self) -> Parts:
        return Parts(self.model, None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def handle(run: Path) -> Iterator[DeploymentHandle]:
    with running_ray(CONFIG, lambda line: None):
        yield serve.run(policy_app(CONFIG, str(run)), name=APP, route_prefix=None)
        serve.delete(APP)
        close_publications(str(run))


def channel_of(run: Path) -> LiveChannel:
    """As the only learner process has it."""

    def by_files(step: int, folder: Path, probe: Probe) -> Published:
        answers = publish(str(run), version_name(step), folder, probe, 200)
        return Published(len(answers), [answer.logprobs for answer in answers])

    def live(version: str, transfer: Transfer, probe: Probe) -> Callable[[], Published]:
        answers = publish_live(str(run), version, transfer, probe, 200)

        def wait() -> Published:
            told = answers()
            return Published(len(told), [answer.logprobs for answer in told])

        return wait

    return LiveChannel(
        FileChannel(run / "weights", 3, by_files, first=True), lambda: following(str(run)), live, lambda own: own,
        backend="gloo", engine_ranks=1, rank=0, address=lambda: "127.0.0.1",
    )  # fmt: skip


def until(true: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def move(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.003 * torch.randn_like(parameter)


def gap(model: Any, published: Published | None) -> float:
    """Largest difference of the probe's log-probabilities between the model and the two replicas."""
    assert published is not None and published.replicas == len(published.logprobs) == 2
    ((prompt, tokens),) = PROBE
    with torch.no_grad():
        logits = model(torch.tensor([prompt + tokens])).logits[0]
    right = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, torch.tensor(tokens)[:, None])[:, 0]
    return max(float((torch.tensor(replica[0]) - right).abs().max()) for replica in published.logprobs)


def versions(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "weights").iterdir())


def replica_process() -> psutil.Process:
    """One replica's worker."""
    (first, *_rest) = [
        process for process in psutil.process_iter(["cmdline"])
        if "ServeReplica:valor-test-live:policy" in " ".join(process.info["cmdline"] or [])
    ]  # fmt: skip
    return first


def test_versions_travel_without_files_through_deaths_and_returns(
    handle: DeploymentHandle, run: Path
) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(CHECKPOINTS / "policy", dtype=torch.float32)
    weights, channel = OfModel(model), channel_of(run)
    until(lambda: len(following(str(run))) == 2)
    for step in range(4):
        assert gap(model, channel.publish(step, weights, PROBE)) < 1e-4, step
        move(model)
    assert versions(run) == [version_name(0)]  # the first alone
    assert handle.status.remote().result()["version"] == version_name(3)

    os.kill(replica_process().pid, signal.SIGKILL)  # between two versions
    until(lambda: len(following(str(run))) != 2)
    until(lambda: len(following(str(run))) == 2)
    assert gap(model, channel.publish(4, weights, PROBE)) < 1e-4
    assert versions(run) == [version_name(0), version_name(4)]
    for step in (5, 6):
        move(model)
        assert gap(model, channel.publish(step, weights, PROBE)) < 1e-4
    assert versions(run) == [version_name(0), version_name(4)]

    class Slow(Parts):
        """One member is killed while it receives."""

        def __iter__(self) -> Iterator[Any]:
            for place, part in enumerate(super().__iter__()):
                if place == 5:
                    os.kill(replica_process().pid, signal.SIGKILL)
                    time.sleep(3)
                yield part

    move(model)
    weights.parts = lambda: Slow(model, None)  # type: ignore[method-assign]
    channel = channel_of(run)  # of a learner that begins again
    channel.publish(7, weights, PROBE)
    with pytest.raises((ValorError, RuntimeError)):
        channel.publish(8, weights, PROBE)
    channel = channel_of(run)
    weights.parts = lambda: Parts(model, None)  # type: ignore[method-assign]
    until(lambda: len(following(str(run))) == 2, 300)
    assert gap(model, channel.publish(8, weights, PROBE)) < 1e-4
    move(model)
    assert gap(model, channel.publish(9, weights, PROBE)) < 1e-4
    assert version_name(9) not in versions(run)
    status = ray.get(open_publications(str(run)).status.remote())
    assert (status["version"], status["behind"]) == (version_name(9), [])
