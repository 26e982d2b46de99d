"""CPU by role of the processes below this one, and which resource a run has used up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

FULL = 0.85  # of a core: an event loop that works so much has no room left; of all cores: the machine
# What a command line holds, and the role that it tells. The first that fits counts.
_ROLES = (
    ("RolloutWorker", "rollout_worker"),
    (":policy", "policy_replica"),
    ("ServeReplica", "gateway"),
    ("JudgeLedger", "judge_ledger"),
    ("SandboxPool", "sandbox_pool"),
    ("valor_ray/program", "sandbox"),
    ("valor_ray.program", "sandbox"),
    ("RolloutActor", "buffer"),
    ("mock_judge", "mock_endpoint"),
    ("ServeController", "serve_controller"),
    ("raylet", "raylet"),
    ("gcs_server", "gcs"),
)
_LOOPS = (
    "driver",
    "rollout_worker",
    "gateway",
    "judge_ledger",
    "buffer",
    "mock_endpoint",
)  # one thread does the work


@dataclass(frozen=True)
class Snapshot:
    """At one moment: CPU seconds so far."""

    at: float
    by_process: Mapping[int, tuple[str, float]]  # pid -> role, seconds
    machine: float  # of all processes of the machine, ours or not


@dataclass(frozen=True)
class Spent:
    """Between two moments."""

    wall_s: float
    cpus: int
    machine: float  # cores at work, ours or not
    by_role: Mapping[str, float]  # CPU seconds
    busiest: Mapping[str, float]  # cores of the role's busiest process

    @property
    def cores(self) -> float:
        """At work for us."""
        return sum(self.by_role.values()) / self.wall_s

    def record(self, count: int, unit: str) -> dict[str, Any]:
        """CPU milliseconds of each of `count` calls or rollouts, by role, those of at least .05; cores at work."""
        each = {role: 1000 * seconds / max(1, count) for role, seconds in self.by_role.items()}
        return {
            f"cpu_ms_per_{unit}": round(sum(each.values()), 2),
            "cpu_ms_by_role": {
                role: round(ms, 2)
                for role, ms in sorted(each.items(), key=lambda item: -item[1])
                if ms >= 0.05
            },
            "cores": {"ours": round(self.cores, 2), "machine": round(self.machine, 2), "of": self.cpus},
        }


def snapshot() -> Snapshot:
    own = psutil.Process()
    by_process = {}
    for process in (own, *own.children(recursive=True)):
        try:
            times, words = process.cpu_times(), " ".join(process.cmdline())
        except psutil.Error:  # it has just ended
            continue
        by_process[process.pid] = (
            "driver" if process.pid == own.pid else role_of(words),
            times.user + times.system,
        )
    whole = psutil.cpu_times()
    return Snapshot(time.monotonic(), by_process, sum(whole) - whole.idle - whole.iowait)


def role_of(command: str) -> str:
    """Of a process by its command line, as Ray names it."""
    return next((role for part, role in _ROLES if part in command), "other")


def spent(before: Snapshot, after: Snapshot) -> Spent:
    """Processes that ended in between are not counted, those that began are."""
    wall = after.at - before.at
    by_role, busiest = Counter[str](), dict[str, float]()
    for pid, (role, seconds) in after.by_process.items():
        used = seconds - before.by_process.get(pid, (role, 0.0))[1]
        by_role[role] += used  # type: ignore[assignment]  # Counter of floats
        busiest[role] = max(busiest.get(role, 0.0), used / wall)
    return Spent(wall, psutil.cpu_count() or 1, (after.machine - before.machine) / wall, by_role, busiest)


def bend(used: Spent, otherwise: str) -> str:
    """The resource that a run has used up, in words; otherwise: what it waited for where none was."""
    if used.machine >= FULL * used.cpus:
        others = used.machine - used.cores
        share = f", {others:.1f} of them by other programs" if others > 0.1 * used.cpus else ""
        return f"the machine's CPUs: {used.machine:.1f} of {used.cpus} cores at work{share}"
    loops = {role: cores for role, cores in used.busiest.items() if role in _LOOPS and cores >= FULL}
    if loops:
        role = max(loops, key=lambda name: loops[name])
        return f"the event loop of a {role}: {loops[role]:.2f} of a core"
    return otherwise
