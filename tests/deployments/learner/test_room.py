"""A learner that waits for room says so, whenever it waits; on a Ray that has too little for it."""

from __future__ import annotations

import pytest
import ray
from ray.util import placement_group, remove_placement_group

from deployments.learner import room
from deployments.learner.room import Group, RoomWatch, group_waits, reserved
from deployments.serving import running_ray
from valor_ray.config.tree import Config


def test_waiting_is_said_every_15_s_and_again_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    waits = {"now": True}
    monkeypatch.setattr(room, "group_waits", lambda: waits["now"])
    monkeypatch.setattr(Group, "waits", lambda self: f"waiting for {self.workers}")
    watch = RoomWatch(Group(2, 1), said.append)
    for second in range(26):
        watch.look(second)
    assert said == ["waiting for 2"] * 2  # at 10 s and 25 s: looked at every 5 s
    waits["now"] = False
    for second in range(26, 40):
        watch.look(second)
    waits["now"] = True
    for second in range(40, 51):
        watch.look(second)
    assert len(said) == 3  # the learner has begun again and waits once more


def test_a_group_that_finds_no_room_is_seen_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(room, "_SAY_S", 0.5)
    with running_ray(Config.load(), lambda line: None):
        assert not group_waits()
        cpus = int(ray.cluster_resources()["CPU"])
        group = Group(2 * cpus + 2, 0)
        waiting = placement_group([{"CPU": room.LEARNER_CPUS}] * group.workers, strategy=group.strategy())
        assert not waiting.wait(1) and group_waits()
        assert (
            f"waiting for room for the learner: {group.workers} x 0.5 CPUs; the cluster has" in group.waits()
        )
        remove_placement_group(waiting)
        assert not group_waits()
        with reserved(Group(1, 0), said.append):
            pass  # nobody waits for GPUs that nobody wants
    assert said == []


def test_a_group_is_on_one_node_only_where_one_can_hold_its_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"Alive": True, "Resources": {"GPU": 2.0}}, {"Alive": True, "Resources": {}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert Group(2, 1).strategy() == "STRICT_PACK" and Group(3, 1).strategy() == "PACK"
    assert Group(3, 0.6).strategy() == "PACK"  # 1.8 GPUs, of which no more than one is on each
    assert Group(4, 0.5).strategy() == "STRICT_PACK" and Group(4, 0).strategy() == "PACK"
