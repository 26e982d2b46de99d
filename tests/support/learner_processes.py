"""Learner processes beside each other, as Ray Train starts them, over one run folder of `tiny_run`."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
from pathlib import Path
from typing import Any

import tiny_run as tiny
import torch


class Shared(tiny.Hand):
    """Every process takes the same step; the first publishes for all."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self._weights = weights

    def batch(self, step: int) -> Any:
        if step - 1 not in self.models:
            folder = self._weights / f"step-{step - 1:06d}"
            while not folder.exists():
                time.sleep(0.05)
            self.models[step - 1] = tiny.model_in(folder)
        return super().batch(step)


def learn(policy: Path, run: Path, world: int, *overrides: str) -> list[dict[str, Any]]:
    """The metrics of a start by so many learner processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = (port, str(policy), str(run), world, *overrides)
    # forked from a process that has loaded these once: to load them takes longer than the steps
    multiprocessing.set_forkserver_preload(["torch", "valor_ray.reasoning.learner.grpo_trainer"])
    torch.multiprocessing.start_processes(_process, arguments, nprocs=world, start_method="forkserver")
    return list(json.loads((run / "records.json").read_text()))


def _process(rank: int, port: int, policy: str, run: str, world: int, *overrides: str) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip
    from torch.distributed.fsdp import FSDPModule

    from valor_ray.reasoning.learner.grpo_trainer import ValorGrpoTrainer

    config = tiny.settings(
        Path(policy), f"grpo.workers={world}", "grpo.micro_batch=1", "grpo.steps=2", *overrides
    )
    attach = ValorGrpoTrainer.attach

    def checked(trainer: Any, *args: Any) -> None:
        attach(trainer, *args)
        models = [trainer.model] if trainer.ref_model is None else [trainer.model, trainer.ref_model]
        assert all(isinstance(model, FSDPModule) == (config.grpo.fsdp and world > 1) for model in models)

    ValorGrpoTrainer.attach = checked  # type: ignore[method-assign]
    _, records = tiny.run_learner(config, Path(run), Shared(Path(run) / "weights"))
    if rank == 0:
        (Path(run) / "records.json").write_text(json.dumps(records))
