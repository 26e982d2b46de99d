"""By hand, until it has passed ten times: weights sent from a learner's memory into policy replicas, over gloo.

    python -m pytest -m slow tests/by_hand/training/live_weights.py

On a real Ray, 5 minutes on two cores.

No file is written, answers are the same, a tensor that comes wrongly is noticed; a replica may die between two versions
and while it receives.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from bases import BASES
from ray import serve
from ray.serve.handle import DeploymentHandle
from transformers import AutoModelForCausalLM

from deployments.actors.publications import (
    close_publications,
    following,
    open_publications,
    publish,
    publish_live,
    withdraw_live,
)
from deployments.parts.policy import PolicyDeployment
from deployments.serving import running_ray
from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError, ValorError
from valor_ray.models.vllm.transfer import gloo
from valor_ray.reasoning.learner.learned_weights import Parts
from valor_ray.reasoning.learner.live_channel import LiveChannel, Told
from valor_ray.runs.publications import Transfer, version_name
from valor_ray.runs.weight_channel import FileChannel, Probe, Published, published_by

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]
APP = "valor-test-live"
CONFIG = Config.load(
    "local", [*BASES, "policy.replicas=2", "policy.max_tokens=40", "policy.weight_transfer=gloo"]
)
PROBE: Probe = [([5, 6, 7, 8], list(range(20, 60)))]


class OfModel:
    """Weights of a model; while it `kills`, one replica dies in the middle of receiving them."""

    def __init__(self, model: Any) -> None:
        self.model, self.kills = model, False

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)

    def parts(self) -> Any:
        return Killing(self)


class Killing(Parts):
    def __init__(self, weights: OfModel) -> None:
        super().__init__(weights.model, None)
        self._weights = weights

    def __iter__(self) -> Iterator[Any]:
        for place, part in enumerate(super().__iter__()):
            if place == 5 and self._weights.kills:
                os.kill(replica_process().pid, signal.SIGKILL)
                time.sleep(3)
            yield part


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def handle(run: Path) -> Iterator[DeploymentHandle]:
    with running_ray(CONFIG, lambda line: None):
        soon = PolicyDeployment.options(
            num_replicas=CONFIG.policy.replicas,
            ray_actor_options={"num_cpus": 0.4},
            health_check_period_s=1,  # of 10: Serve replaces a replica that has failed three
        )
        yield serve.run(soon.bind(CONFIG.policy, str(run)), name=APP, route_prefix=None)
        serve.delete(APP)
        close_publications(str(run))


def channel_of(run: Path) -> LiveChannel:
    """As the only learner process has it."""

    def by_files(step: int, folder: Path, probe: Probe) -> Published:
        return published_by(publish(str(run), version_name(step), folder, probe, 200))

    def live(version: str, transfer: Transfer, probe: Probe) -> Told:
        answers = publish_live(str(run), version, transfer, probe, 200)
        return Told(
            lambda: published_by(answers()),
            lambda replica, reason: withdraw_live(str(run), replica, version, reason),
        )

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


@contextmanager
def bit_flips() -> Iterator[None]:
    """One bit of every tensor of two dimensions is another on its way."""
    broadcast = gloo.broadcast

    def distorted(group: Any, tensor: torch.Tensor) -> Any:
        sent = tensor.clone()
        if sent.dim() == 2:
            sent.view(torch.int32)[1, 2] ^= 1 << 3
        return broadcast(group, sent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gloo, "broadcast", distorted)
        yield


def versions(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "weights").iterdir())


def status(run: Path) -> tuple[str, list[str]]:
    """The current version, and who does not carry it."""
    told = ray.get(open_publications(str(run)).status.remote())
    return told["version"], told["behind"]


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
    for step in range(3):
        assert gap(model, channel.publish(step, weights, PROBE)) < 1e-4, step
        move(model)
    assert versions(run) == [version_name(0)]  # the first alone
    assert handle.status.remote().result()["version"] == version_name(2)

    with (
        bit_flips(),
        pytest.raises(CheckpointError, match=r"embed_tokens\.weight came to replica \w+ with other"),
    ):
        channel.publish(3, weights, PROBE)
    until(lambda: status(run) == (version_name(0), []))  # the last folder
    assert gap(model, channel.publish(3, weights, PROBE)) < 1e-4
    assert versions(run) == [version_name(0), version_name(3)]

    os.kill(replica_process().pid, signal.SIGKILL)  # between two versions
    until(lambda: len(following(str(run))) != 2)
    until(lambda: len(following(str(run))) == 2)
    assert gap(model, channel.publish(4, weights, PROBE)) < 1e-4
    assert versions(run) == [version_name(0), version_name(3), version_name(4)]
    for step in (5, 6):
        move(model)
        assert gap(model, channel.publish(step, weights, PROBE)) < 1e-4
    assert versions(run) == [version_name(0), version_name(3), version_name(4)]

    move(model)
    weights.kills = True
    with pytest.raises((ValorError, RuntimeError)):
        channel.publish(7, weights, PROBE)
    channel = channel_of(run)  # of a learner that begins again
    weights.kills = False
    until(lambda: len(following(str(run))) == 2, 300)
    assert gap(model, channel.publish(7, weights, PROBE)) < 1e-4
    move(model)
    assert gap(model, channel.publish(8, weights, PROBE)) < 1e-4
    assert version_name(8) not in versions(run)
    assert status(run) == (version_name(8), [])
