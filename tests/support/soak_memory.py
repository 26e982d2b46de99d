"""What the processes of a service hold (memory that no other process shares: USS) and use, by part."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict

import psutil

_REPLICA = "ray::ServeReplica:"


def descendants(pid: int) -> list[psutil.Process]:
    """The process and all that it started, as far as they are still its descendants."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def part_processes(pid: int, part: str) -> list[psutil.Process]:
    """Of `policy` the engine, which is what dies there (`policy replica`: its holder); of another part its replicas."""
    engine, part = part == "policy", part.removesuffix(" replica")
    named = [(_title(process), process) for process in descendants(pid)]
    if engine:
        return [process for title, process in named if "EngineCore" in title]
    return [process for title, process in named if title.startswith(_REPLICA) and f":{part}" in title]


def cpu_seconds(pid: int) -> dict[str, float]:
    """By part, what its processes have used until now; those that have ended count with who waited for them."""
    used: dict[str, float] = defaultdict(float)
    for process in descendants(pid):
        try:
            used[_part(_title(process))] += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return used


class Memory:
    """MiB by part at each look."""

    def __init__(self, pid: int) -> None:
        self._pid, self._began = pid, time.monotonic()
        self._looks: list[tuple[float, dict[str, float]]] = []

    def look(self) -> None:
        held: dict[str, float] = defaultdict(float)
        for process in descendants(self._pid):
            try:
                held[_part(_title(process))] += process.memory_full_info().uss / 2**20
            except psutil.Error:
                continue
        self._looks.append((time.monotonic() - self._began, dict(held)))

    def last(self) -> dict[str, float]:
        at, held = self._looks[-1]
        return {"s": round(at), "MiB": round(sum(held.values()))}

    def growth(self, after_s: float) -> float:
        """Median of the last third above the median of the third after `after_s`, as a share of the latter."""
        totals = [sum(held.values()) for at, held in self._looks if at >= after_s]
        third = max(len(totals) // 3, 1)
        first, last = statistics.median(totals[:third]), statistics.median(totals[-third:])
        return round(last / first - 1, 4)

    def report(self) -> dict[str, object]:
        """Total MiB each minute, and of each part the first and the last minute's."""
        minutes: dict[int, list[dict[str, float]]] = defaultdict(list)
        for at, held in self._looks:
            minutes[int(at // 60)].append(held)
        parts = sorted({part for _, held in self._looks for part in held})
        means = {
            minute: {part: statistics.fmean(held.get(part, 0.0) for held in looks) for part in parts}
            for minute, looks in minutes.items()
        }
        return {
            "total_mib_by_minute": [round(sum(held.values())) for held in means.values()],
            "by_part_mib": {part: [round(held[part]) for held in means.values()] for part in parts},
        }


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return ""


def _part(title: str) -> str:
    if title.startswith(_REPLICA):
        return title.split(":")[-1].split(".")[0].split()[0]
    if "EngineCore" in title:
        return "engine"
    if title.startswith("ray::"):
        return title.split()[0].removeprefix("ray::").split(".")[0]
    return "ray and others"
