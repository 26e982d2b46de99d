"""The other side of `valor bench publish`, in a process of its own: what a policy replica does, without an engine.

What comes is copied into the tensors of a model, as the fastest of engines would; vLLM's own work comes on top.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from valor_ray.models.vllm.transfer.gloo import GlooEngine, broadcast, join
from valor_ray.models.vllm.weights import WeightLoading, read_weights
from valor_ray.runs.publications import Checksums, Transfer


class Held:
    """The tensors of a model, in vLLM's words."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.tensors = tensors

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        for name, tensor in weights:
            self.tensors[name].copy_(tensor)


def engine_of(model: Any) -> GlooEngine:
    """vLLM's constructor reads an engine's configuration; here there is none."""
    configuration = SimpleNamespace(parallel_config=SimpleNamespace(rank=0), model_config=None)
    return GlooEngine(None, configuration, torch.device("cpu"), model)


class Replica:
    """Holds a model of these shapes, and takes new weights for it in three ways."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._model = Held({name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in shapes.items()})
        self._worker = object.__new__(
            WeightLoading
        )  # an engine's process ends with its owner, this one by itself
        self._worker.model_runner = SimpleNamespace(get_model=lambda: self._model)
        self._engines: dict[str, Any] = {}
        self._bare: Any = None

    def join_bare(self, port: int) -> None:
        self._bare = join("127.0.0.1", port, 1, 2)

    def bare(self) -> None:
        """Into the model's own tensors: nothing is copied, checked or told."""
        for tensor in self._model.tensors.values():
            broadcast(self._bare, tensor).wait()

    def live(self, transfer: Transfer) -> list[Checksums]:
        """As VllmPolicy.receive_weights."""
        engine = self._engines.get(transfer.group)
        if engine is None:
            engine = self._engines[transfer.group] = engine_of(self._model)
            engine.init_transfer_engine(engine.parse_init_info(json.loads(transfer.init)))
        self._worker.note_received()
        engine.update_weights(json.loads(transfer.update))
        return [self._worker.received()]

    def file(self, folder: Path) -> None:
        self._model.load_weights(read_weights(folder))

    def sums(self) -> dict[str, float]:
        return {name: float(tensor.double().sum()) for name, tensor in self._model.tensors.items()}


def serve(pipe: Connection, shapes: dict[str, tuple[int, ...]]) -> None:
    """(name of a method, its arguments) -> its result, until None comes."""
    torch.set_num_threads(1)
    replica = Replica(shapes)
    pipe.send(None)
    while (asked := pipe.recv()) is not None:
        name, given = asked
        pipe.send(getattr(replica, name)(*given))
