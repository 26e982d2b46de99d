"""Which way a version takes, and what the members are told: with a trainer's engine that does as vLLM's does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError, ConfigError
from valor_ray.reasoning.learner.learn import check_transfer
from valor_ray.reasoning.learner.learned_weights import Parts
from valor_ray.reasoning.learner.live_channel import LiveChannel, Told
from valor_ray.runs.publications import Transfer
from valor_ray.runs.weight_channel import Probe, Published

PROBE: Probe = [([1], [2])]


class OfLinear:
    """Weights of a layer that can be saved, or sent."""

    def __init__(self) -> None:
        self.model = torch.nn.Linear(2, 3)
        self.saved = 0

    def save(self, _folder: Path) -> None:
        self.saved += 1

    def parts(self) -> Parts:
        return Parts(self.model, torch.bfloat16)


class Engine:
    """The calls of vLLM's trainer engine, in its order; what it sends is kept."""

    def __init__(self, client: Any, source: Any) -> None:
        self.client, self.source = client, source
        self.sent: list[dict[str, torch.Tensor]] = []
        self.down = False
        if client is not None:
            client.init_weight_transfer_engine({"rank_offset": 1, "world_size": 3})

    def send_weights(self) -> None:
        if self.client is None:
            list(self.source)
            return
        self.client.start_weight_update()
        self.sent.append(dict(self.source))
        self.client.update_weights({})
        self.client.finish_weight_update()

    def shutdown(self) -> None:
        self.down = True


class World:
    """Replicas, and a LiveChannel whose engines are kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rank: int = 0) -> None:
        self.live: tuple[str, ...] = ("a", "b")
        self.said: list[Any] = []
        self.fails = False
        self.spoilt: str | None = None  # a tensor that comes wrongly to the second member
        self.engines: list[Engine] = []
        self.weights = OfLinear()

        def joined(channel: LiveChannel, members: tuple[str, ...], source: Any) -> Engine:
            self.engines.append(Engine(channel._client, source))
            return self.engines[-1]

        monkeypatch.setattr(LiveChannel, "_initialised", joined)
        self.channel = LiveChannel(
            self, lambda: self.live, self.announce, self.agree, backend="gloo", engine_ranks=1, rank=rank,
            address=lambda: "here",
        )  # fmt: skip
        self.agreed: Any = ()  # by the first process, where this one is another

    def publish(self, step: int, weights: Any, _probe: Probe) -> Published | None:
        """By files."""
        weights.save(Path("any"))
        self.said.append(("files", step))
        return Published(len(self.live), []) if self.channel._rank == 0 else None

    def announce(self, version: str, transfer: Transfer, probe: Probe) -> Any:
        self.said.append((version, transfer, probe))

        def wait() -> Published:
            if self.fails:
                raise CheckpointError("a has gone")
            return Published(len(transfer.members), [[[-0.5]]], self.received(transfer.members))

        return Told(wait, lambda replica, reason: self.said.append(("withdrawn", replica, reason)))

    def received(self, members: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
        """What engines of two workers tell, where all is well but `spoilt`."""
        sent = self.engines[-1].source.sent()
        told = {member: [dict(sent), dict(sent)] for member in members}
        if self.spoilt is not None:
            told[members[1]][1][self.spoilt] = "0" * 32
        return told

    def agree(self, own: Any) -> Any:
        return own if self.channel._rank == 0 else self.agreed

    def step(self, step: int) -> Published | None:
        return self.channel.publish(step, self.weights, PROBE)


def test_the_first_version_goes_by_files_and_the_next_ones_from_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)
    assert world.step(0) == Published(2, []) and world.said == [("files", 0)]
    with torch.no_grad():
        world.weights.model.weight.fill_(0.5)
    published = world.step(1)
    assert published is not None and (published.replicas, published.logprobs) == (2, [[[-0.5]]])
    with torch.no_grad():
        world.weights.model.weight.fill_(0.25)
    world.step(2)
    (engine,), (_files, one, two) = world.engines, world.said
    assert (one[0], two[0], one[2]) == ("step-000001", "step-000002", PROBE) and world.weights.saved == 1
    assert one[1] == two[1] and one[1].members == ("a", "b")
    assert json.loads(one[1].init) == {"rank_offset": 1, "world_size": 3}
    assert json.loads(one[1].update) == {
        "names": ["weight", "bias"], "dtype_names": ["bfloat16"] * 2, "shapes": [[3, 2], [3]],
    }  # fmt: skip
    assert [float(sent["weight"].mean()) for sent in engine.sent] == [0.5, 0.25]  # of the moment
    assert all(sent["bias"].dtype == torch.bfloat16 for sent in engine.sent)


@pytest.mark.parametrize("later", [("b",), ("a", "b", "c"), ("b", "d")])
def test_other_replicas_get_files_first_and_then_a_group_of_their_own(
    monkeypatch: pytest.MonkeyPatch, later: tuple[str, ...]
) -> None:
    world = World(monkeypatch)
    world.step(0)
    world.step(1)
    world.live = later
    world.step(2)
    world.step(3)
    assert world.said[2] == ("files", 2) and world.said[3][1].members == later
    assert [engine.down for engine in world.engines] == [True, False]
    assert world.said[3][1].group != world.said[1][1].group


def test_while_nobody_lives_versions_go_by_files(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.live = ()
    for step in range(3):
        world.step(step)
    assert world.said == [("files", 0), ("files", 1), ("files", 2)] and not world.engines


def test_a_member_that_fails_ends_the_step_and_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.step(0)
    world.fails = True
    with pytest.raises(CheckpointError, match="a has gone"):
        world.step(1)
    world.fails = False
    world.step(1)
    world.step(2)
    assert world.said[2] == ("files", 1) and len(world.engines) == 2
    assert world.channel._client is not None and world.channel._client.ended.is_set()


def test_a_tensor_that_came_wrongly_withdraws_the_version_and_the_next_goes_by_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)
    world.step(0)
    world.step(1)
    world.spoilt = "bias"
    with pytest.raises(CheckpointError, match=r"step-000002 is withdrawn: bias came to replica b with other"):
        world.step(2)
    assert world.said[-1][:2] == ("withdrawn", "b")
    world.spoilt = None
    world.step(2)
    assert world.said[-1] == ("files", 2)


def test_a_member_that_tells_no_checksums_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    monkeypatch.setattr(world, "received", lambda members: {member: [] for member in members})
    world.step(0)
    with pytest.raises(CheckpointError, match="weight came to replica a with other bytes"):
        world.step(1)


def test_other_processes_gather_and_tell_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, rank=1)
    assert world.step(0) is None
    world.agreed = ("a", "b")
    assert world.step(1) is None and world.step(2) is None
    assert world.said == [("files", 0)] and len(world.engines) == 1 and world.engines[0].client is None


def test_adapters_and_processors_are_refused() -> None:
    check_transfer(Config.load("local", ["policy.weight_transfer=gloo"]))
    check_transfer(Config.load("gpu", ["policy.weight_transfer=nccl"]))
    with pytest.raises(ConfigError, match=r"grpo\.lora_rank trains adapters.*weight_transfer=null"):
        check_transfer(Config.load("local", ["policy.weight_transfer=gloo", "grpo.lora_rank=4"]))
    with pytest.raises(ConfigError, match=r"GPU to GPU.*Give gloo"):
        check_transfer(Config.load("local", ["policy.weight_transfer=nccl"]))
