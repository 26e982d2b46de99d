"""What the sides of `valor bench boxes` cost: time, CPU, calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil


@dataclass(frozen=True)
class Figures:
    """Of one side, over all its pictures."""

    pictures: int
    wall_s: float
    cpu_s: float  # of this process and its children, the mock endpoint apart
    calls: int
    kept: int  # boxes

    def to_record(self) -> dict[str, Any]:
        """As it is printed."""
        return {
            "images_per_second": round(self.images_per_second, 4),
            "seconds_per_image": round(self.wall_s / self.pictures, 3),
            "cpu_s_per_image": round(self.cpu_s / self.pictures, 3),
            "images": self.pictures,
            "calls_per_image": round(self.calls / self.pictures, 2),
            "boxes_kept_per_image": round(self.kept / self.pictures, 2),
        }

    @property
    def images_per_second(self) -> float:
        return self.pictures / self.wall_s


def cpu_s(without: int | None = None) -> float:
    """CPU seconds so far of this process and of those below it that live. without: the pid of one not counted."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        if process.pid == without:
            continue
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
