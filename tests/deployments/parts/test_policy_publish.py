"""Weights published to policy replicas on a real Ray: all carry them, a killed one comes back with them."""

import asyncio
import json
import os
import shutil
import signal
import time
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
from transformers import AutoModelForCausalLM

from deployments.actors.named import NAMESPACE
from deployments.actors.publications import (
    PublicationsActor,
    close_publications,
    open_publications,
    publications_name,
    publish,
)
from deployments.app import policy_app
from deployments.serving import running_ray
from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError
from valor_ray.records import Reply, Sampling
from valor_ray.runs.publications import version_name

APP = "valor-test-policy"
CONFIG = Config.load("local", [*BASES, "policy.replicas=2", "policy.max_tokens=400"])
QUESTIONS = ["How many red boxes are there?", "How many objects are there?"]
PROBE = [([5, 6, 7, 8], list(range(20, 60)))]
PLAIN = Sampling(temperature=1.0, top_p=1.0, max_tokens=100)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def weights(run: Path) -> list[Path]:
    """Four versions: the shipped policy, and three moved ever further away from it."""
    folders = [run / "weights" / version_name(step) for step in range(4)]
    torch.manual_seed(0)
    for step, folder in enumerate(folders):
        model = AutoModelForCausalLM.from_pretrained(CHECKPOINTS / "policy")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.003 * step * torch.randn_like(parameter)
        model.save_pretrained(folder)
    return folders


@pytest.fixture(scope="module")
def handle(run: Path, weights: list[Path]) -> Iterator[DeploymentHandle]:
    """Two replicas of a run that has published its start weights before they started."""
    with running_ray(CONFIG, lambda line: None):
        (run / "published.json").write_text(
            json.dumps({"number": 3, "version": version_name(0), "folder": str(weights[0]), "probe": []})
        )
        yield serve.run(policy_app(CONFIG, str(run)), name=APP, route_prefix=None)
        serve.delete(APP)
        close_publications(str(run))


def gaps(run: Path, step: int, folder: Path) -> list[float]:
    """Publish to both replicas; of each, the largest difference of the probe's log-probabilities to transformers'."""
    until(
        lambda: len(live(run)["live"]) == 2
    )  # one whose beat is late counts as gone, and would not be waited for
    answers = publish(str(run), version_name(step), folder, PROBE, 200)
    assert {answer.version for answer in answers} == {version_name(step)}
    assert len({answer.replica for answer in answers}) == len(answers)
    ((prompt, tokens),) = PROBE
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([prompt + tokens])).logits[0]
    right = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, torch.tensor(tokens)[:, None])[:, 0]
    return [float((torch.tensor(answer.logprobs[0]) - right).abs().max()) for answer in answers]


def live(run: Path) -> dict[str, Any]:
    return ray.get(open_publications(str(run)).status.remote())


def until(true: Callable[[], bool], seconds: float = 200) -> None:
    """Long enough for a busy machine: what is expected comes within seconds else."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


async def samples(handle: DeploymentHandle, calls: int) -> list[list[list[Reply]]]:
    return await asyncio.gather(
        *(handle.sample.remote(QUESTIONS, 4, 11, PLAIN, 0.0) for _ in range(calls))  # as many as reach both
    )


@pytest.mark.timeout(900)
def test_replicas_start_with_what_is_published(handle: DeploymentHandle, run: Path) -> None:
    until(lambda: len(live(run)["live"]) == 2)
    status = live(run)
    assert (status["version"], status["behind"]) == (version_name(0), [])
    replica = handle.status.remote().result()
    assert replica["version"] == version_name(0) and replica["replica"] in status["live"]


@pytest.mark.timeout(900)
def test_every_replica_carries_each_version_and_samples_the_same(
    handle: DeploymentHandle, run: Path, weights: list[Path]
) -> None:
    texts = set()
    for step in (1, 2, 1):  # an older one again, as after a run goes back to its checkpoint
        differences = gaps(run, step, weights[step])
        assert len(differences) == 2 and max(differences) < 1e-4
        batches = asyncio.run(samples(handle, 6))
        assert all(batch == batches[0] for batch in batches)
        assert {reply.policy_version for group in batches[0] for reply in group} == {version_name(step)}
        texts.add(batches[0][0][0].logprobs)
    assert len(texts) == 2


@pytest.mark.timeout(900)
def test_weights_that_do_not_fit_are_withdrawn_everywhere(
    handle: DeploymentHandle, run: Path, weights: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(weights[3], tmp_path / "odd")
    model = AutoModelForCausalLM.from_pretrained(weights[3])
    state = {name: tensor for name, tensor in model.state_dict().items() if "norm" not in name}
    model.save_pretrained(tmp_path / "odd", state_dict=state)
    for folder, words in ((tmp_path / "odd", "was refused by .* missing"), (tmp_path / "none", "missing")):
        with pytest.raises(CheckpointError, match=words):
            publish(str(run), version_name(3), folder, PROBE, 60)
    until(lambda: live(run)["behind"] == [] and len(live(run)["live"]) == 2)
    assert live(run)["version"] == version_name(1)
    assert json.loads((run / "published.json").read_text())["version"] == version_name(1)
    batches = asyncio.run(samples(handle, 6))
    assert {reply.policy_version for batch in batches for group in batch for reply in group} == {
        version_name(1)
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_replica_comes_back_with_the_current_version(
    handle: DeploymentHandle, run: Path, weights: list[Path]
) -> None:
    before = set(live(run)["live"])
    expected = asyncio.run(samples(handle, 1))[0]
    replicas = [process for process in psutil.process_iter() if is_policy(process)]
    assert len(replicas) == 2
    engines = replicas[0].children(recursive=True)
    os.kill(replicas[0].pid, signal.SIGKILL)
    until(lambda: len(set(live(run)["live"]) - before) == 1)
    until(lambda: serve.status().applications[APP].deployments["policy"].replica_states.get("RUNNING") == 2)
    until(lambda: live(run)["behind"] == [] and len(live(run)["live"]) == 2)
    assert all(batch == expected for batch in asyncio.run(samples(handle, 6)))
    assert max(gaps(run, 3, weights[3])) < 1e-4
    assert psutil.wait_procs(engines, timeout=90)[1] == []  # an engine does not outlive its replica


@pytest.mark.timeout(900)
def test_publications_survive_their_actor(handle: DeploymentHandle, run: Path, weights: list[Path]) -> None:
    assert max(gaps(run, 3, weights[3])) < 1e-4
    ray.kill(ray.get_actor(publications_name(str(run)), NAMESPACE), no_restart=False)
    assert live(run)["version"] == version_name(3)
    until(lambda: len(live(run)["live"]) == 2 and live(run)["behind"] == [])  # each says anew what it carries
    differences = gaps(run, 2, weights[2])
    assert len(differences) == 2 and max(differences) < 1e-4


def is_policy(process: psutil.Process) -> bool:
    try:
        ours = process.environ().get("VALOR_TEST_SESSION") == os.environ["VALOR_TEST_SESSION"]
        return ours and any("ServeReplica:valor-test-policy" in word for word in process.cmdline())
    except psutil.Error:
        return False


def test_refused_first_publication_leaves_nothing_current(tmp_path: Path) -> None:
    (tmp_path / "published.json").write_text("null")
    assert asyncio.run(PublicationsActor(str(tmp_path)).status())["version"] is None
