"""`valor bench checkpoint`: how long a learner stands still for a checkpoint, and for a plain save of the same."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from valor_ray.perf.weights.publish import random_policy, ratios
from valor_ray.reasoning.learner.sharded_state import StateWriter

Say = Callable[[str], None]


def run(args: Namespace, say: Say) -> dict[str, Any]:
    """{ours, baseline, ratio, bytes_per_parameter, ...}: seconds in which the learner does nothing else.

    ours: the state is copied, a thread writes it; baseline: torch.save and fsync, to the same disk. One process.
    """
    import torch

    torch.set_num_threads(1)
    _copy, model = random_policy(args.layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    for value in model.parameters():
        value.grad = torch.full_like(value, 1e-3)
    optimizer.step()
    optimizer.zero_grad()
    count = sum(value.numel() for value in model.parameters())
    say(f"{count / 1e6:.0f} million parameters with Adam's moments, to {args.out or tempfile.gettempdir()}")
    with tempfile.TemporaryDirectory(dir=args.out) as folder:
        sides = _Sides(model, optimizer, Path(folder))
        first, _ = sides.ours()  # it gets the memory for the copy
        sides.baseline()
        ours, written, baseline = [], [], []
        for number in range(args.runs):
            say(f"run {number + 1} of {args.runs}")
            if number % 2:
                baseline.append(sides.baseline())
            stalled, all_of_it = sides.ours()
            ours.append(stalled)
            written.append(all_of_it)
            if not number % 2:
                baseline.append(sides.baseline())
    return {
        "ours": {
            "seconds": round(statistics.median(ours), 3),
            "runs": [round(value, 3) for value in ours],
            "first": round(first, 3),
            "until_written": round(statistics.median(written), 3),
        },
        "baseline": {
            "seconds": round(statistics.median(baseline), 3),
            "runs": [round(value, 3) for value in baseline],
        },
        "ratio": ratios(ours, baseline),
        "bytes_per_parameter": round(sides.size / count, 3),
        "work": {"parameters": count, "bytes": 12 * count, "runs": args.runs, "threads": 1},
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


class _Sides:
    def __init__(self, model: Any, optimizer: Any, folder: Path) -> None:
        self._model, self._optimizer, self._folder = model, optimizer, folder
        self._writer = StateWriter()
        self.size = 0  # bytes of our last checkpoint

    def ours(self) -> tuple[float, float]:
        """Seconds until the learner may go on, and until all is on disk."""
        checkpoint = self._folder / "ours"
        started = time.perf_counter()
        self._writer.start(checkpoint, self._model, self._optimizer)
        stalled = time.perf_counter() - started
        self._writer.wait()
        written = time.perf_counter() - started
        self.size = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
        shutil.rmtree(checkpoint)
        return stalled, written

    def baseline(self) -> float:
        import torch

        path = self._folder / "plain.pt"
        started = time.perf_counter()
        with path.open("wb") as file:
            torch.save({"model": self._model.state_dict(), "optimizer": self._optimizer.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())  # as DCP does
        seconds = time.perf_counter() - started
        path.unlink()
        return seconds
