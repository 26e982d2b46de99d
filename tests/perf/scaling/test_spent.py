"""Which resource a run has used up: a table, no processes."""

from __future__ import annotations

import pytest

from valor_ray.perf.scaling.spent import Snapshot, Spent, bend, role_of, snapshot, spent


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("ray::MapWorker(MapBatches(RolloutWorker))", "rollout_worker"),
        ("ray::ServeReplica:valor-policy-1a2b3c4d:policy", "policy_replica"),
        ("ray::ServeReplica:valor-judge-1a2b3c4d:judge", "gateway"),
        ("ray::SandboxPool.check", "sandbox_pool"),
        ("python -m valor_ray.perf.mock_judge --port 0", "mock_endpoint"),
        ("/site-packages/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", "raylet"),
        ("ray::DashboardAgent", "other"),
    ],
)
def test_a_process_has_a_role_by_its_command_line(command: str, role: str) -> None:
    assert role_of(command) == role


def used(machine: float = 1.0, gateway: float = 0.3, by_role: float = 6.0) -> Spent:
    return Spent(10.0, 2, machine, {"gateway": by_role}, {"gateway": gateway})


def test_the_machine_bends_first_and_says_whose_work_it_is() -> None:
    assert bend(used(machine=1.9, by_role=18.0), "seats") == "the machine's CPUs: 1.9 of 2 cores at work"
    assert bend(used(machine=1.9), "seats").endswith(", 1.3 of them by other programs")


def test_then_an_event_loop_then_what_is_waited_for() -> None:
    assert bend(used(gateway=0.93), "seats") == "the event loop of a gateway: 0.93 of a core"
    assert bend(used(), "seats") == "seats"


def test_cpu_between_two_moments_is_told_by_role_and_by_call() -> None:
    before = Snapshot(100.0, {1: ("driver", 5.0), 2: ("gateway", 1.0)}, 50.0)
    after = Snapshot(110.0, {1: ("driver", 6.0), 3: ("gateway", 2.0), 4: ("gateway", 0.5)}, 65.0)
    between = spent(before, after)
    assert between.by_role == {"driver": 1.0, "gateway": 2.5} and between.busiest["gateway"] == 0.2
    assert between.machine == 1.5 and between.cores == pytest.approx(0.35)
    record = between.record(1000, "call")
    assert record["cpu_ms_per_call"] == 3.5 and record["cpu_ms_by_role"] == {"gateway": 2.5, "driver": 1.0}


def test_this_process_is_the_driver() -> None:
    assert "driver" in {role for role, _ in snapshot().by_process.values()}
