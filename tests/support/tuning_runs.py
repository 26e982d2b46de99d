"""`valor train grounding` as a process on a made-up set: start, watch, kill, and what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
import train_runs as runs
from finetuning import make_general, make_set

SMALL = ("finetune.batch=2", "finetune.save_every=2", "finetune.warmup_steps=2", "finetune.replay_limit=4",
         "finetune.gate_limit=100", "finetune.alphas=[1.0]")  # fmt: skip


class Sources:
    """A set, general pictures and pictures to replay, none of which needs rendering."""

    def __init__(self, folder: Path, pictures: int = 10) -> None:
        self.mined, self.general = make_set(folder / "set", pictures), make_general(folder / "general", 2)
        make_general(folder / "replay", 4)
        self.settings = [f"finetune.general={self.general}", f"finetune.replay_pictures={folder / 'replay'}"]


class Run:
    """A process, its folder and its log."""

    def __init__(self, folder: Path, sources: Sources, *settings: str, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}-{time.monotonic_ns()}.log")
        command = [sys.executable, "-m", "valor_ray", "train", "grounding", "--run", str(folder), "--json"]
        command += ["--mined", str(sources.mined), *options]
        command += [word for value in (*SMALL, *sources.settings, *settings) for word in ("--set", value)]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)

    def wait_for_step(self, step: int, seconds: float = 240, look_s: float = 0.02) -> None:
        runs.wait_until(
            self.process, self.log.read_text, lambda: step in steps(self.folder), seconds, look_s=look_s
        )

    def finish(self, seconds: float = 280, code: int = 0) -> dict[str, Any]:
        """What it prints, when it ends by itself."""
        with self:
            said, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode == code, self.log.read_text()
        return dict(json.loads(said)) if said else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.kill_all()

    def kill_all(self) -> list[psutil.Process]:
        """kill -9 of everything at the same moment; what was killed."""
        everything = runs.tree(self.process)
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.communicate()
        return everything


def steps(folder: Path) -> list[int]:
    return runs.steps(folder)


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in runs.records(folder / "metrics.jsonl")]


def state_of(folder: Path, step: int) -> dict[str, Any]:
    """Weights, averages and the optimizer's moments of a checkpoint, flat."""
    import torch

    state = torch.load(folder / f"checkpoints/step-{step:06d}/state.pt", weights_only=True)
    moments = {
        f"{n}/{name}": value
        for n, each in state["optimizer"]["state"].items()
        for name, value in each.items()
    }
    return {**state["trained"], **{f"average/{n}": v for n, v in state["average"].items()}, **moments}


def same(a: Path, b: Path, step: int) -> bool:
    """Whether two runs' checkpoints are equal bit for bit, and so are the weights that they publish."""
    import torch

    ours, theirs = state_of(a, step), state_of(b, step)
    equal = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    written = [(run / "averaged/model.safetensors").read_bytes() for run in (a, b)]
    return equal and written[0] == written[1]
