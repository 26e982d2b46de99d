"""vLLM's weight transfer over gloo, the CPU's counterpart of its `nccl`: the live channel can be tried without GPUs.

Both sides and what they are given have the shapes of vLLM's own (vllm.distributed.weight_transfer.nccl_engine). While
a tensor is on its way, the learner makes the next one and the engine loads the one before. A member that has gone is an
error after `_TIMEOUT`. Registered under the name `gloo` by `register`: in the engine's process by our worker extension,
in the learner's by its live_channel.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, ClassVar, Self

import torch
from torch import distributed
from vllm.distributed.utils import (
    stateless_destroy_torch_distributed_process_group,
    stateless_init_torch_distributed_process_group,
)
from vllm.distributed.weight_transfer.base import (
    TrainerInitInfo,
    TrainerWeightTransferEngine,
    WeightTransferEngine,
    WeightTransferInitInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory, WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferUpdateInfo

from valor_ray.models.vllm.transfer.room import Room

NAME = "gloo"
_TIMEOUT = timedelta(seconds=60)
_AHEAD = 1  # tensors on their way beside the one that is waited for


@dataclass
class GlooInit(WeightTransferInitInfo):
    """For a worker."""

    master_address: str
    master_port: int
    rank_offset: int
    world_size: int


@dataclass
class GlooTrainerInit(TrainerInitInfo):
    """For a learner process."""

    backend: ClassVar[str] = NAME

    master_address: str
    master_port: int
    world_size: int


def join(address: str, port: int, rank: int, world: int) -> Any:
    """The group; blocks until all `world` have come."""
    return stateless_init_torch_distributed_process_group(
        address, port, rank, world, "gloo", timeout=_TIMEOUT
    )


def broadcast(group: Any, tensor: torch.Tensor) -> Any:
    """From the learner, in place: begins, and gives what is waited for."""
    options = distributed.BroadcastOptions()
    options.rootRank = 0
    return group.broadcast([tensor], options)


class GlooEngine(WeightTransferEngine[GlooInit, NCCLWeightTransferUpdateInfo]):
    """In a worker of the engine."""

    init_info_cls = GlooInit
    update_info_cls = NCCLWeightTransferUpdateInfo

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._group: Any = None
        self._room = Room()

    def init_transfer_engine(self, init_info: GlooInit) -> None:
        rank = init_info.rank_offset + self.parallel_config.rank
        self._group = join(init_info.master_address, init_info.master_port, rank, init_info.world_size)

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Without vLLM's wait for an accelerator, which a CPU has none of."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: NCCLWeightTransferUpdateInfo) -> None:
        coming: deque[tuple[str, torch.Tensor, Any]] = deque()

        def load_next() -> None:
            name, tensor, work = coming.popleft()
            work.wait()
            self.model.load_weights([(name, tensor)])

        for name, dtype, shape in zip(
            update_info.names, update_info.dtype_names, update_info.shapes, strict=True
        ):
            tensor = self._room.take(getattr(torch, dtype), shape)
            coming.append((name, tensor, broadcast(self._group, tensor)))
            if len(coming) > _AHEAD:
                load_next()
        while coming:
            load_next()

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        if self._group is not None:
            stateless_destroy_torch_distributed_process_group(self._group)
            self._group = None


class GlooTrainer(TrainerWeightTransferEngine[GlooTrainerInit]):
    """In a learner process; only the first sends, the others take part in the gathering."""

    init_info_cls = GlooTrainerInit

    def __init__(self, *, client: Any, source: Any, is_sender: bool) -> None:
        super().__init__(client=client, source=source, is_sender=is_sender)
        self._group: Any = None

    @classmethod
    def trainer_init(cls, init_info: GlooTrainerInit, *, client: Any, source: Any = None) -> Self:
        made = cls(client=client, source=source, is_sender=init_info.is_sender)
        if not made.is_sender:
            return made
        where = (init_info.master_address, init_info.master_port)
        workers = GlooInit(*where, rank_offset=1, world_size=init_info.world_size)
        with ThreadPoolExecutor(1) as thread:  # they block until this side is there too
            told = thread.submit(client.init_weight_transfer_engine, asdict(workers))
            made._group = join(*where, 0, init_info.world_size)
            told.result()
        return made

    def send_weights(self) -> None:
        if not self.is_sender:
            for _part in self.source:
                pass
            return
        meta = self.source.metadata()
        update = NCCLWeightTransferUpdateInfo(
            names=[each.name for each in meta],
            dtype_names=[str(each.dtype).rpartition(".")[2] for each in meta],
            shapes=[list(each.shape) for each in meta],
        )
        self.client.start_weight_update()
        thread = ThreadPoolExecutor(1)
        try:
            received = thread.submit(self.client.update_weights, asdict(update))
            going: deque[Any] = deque()
            for _name, tensor in self.source:
                going.append(broadcast(self._group, tensor))
                if len(going) > _AHEAD:
                    going.popleft().wait()
            for work in going:
                work.wait()
            received.result()
        finally:
            thread.shutdown(wait=False)
        self.client.finish_weight_update()

    def shutdown(self) -> None:
        if self._group is not None:
            stateless_destroy_torch_distributed_process_group(self._group)
            self._group = None


def register() -> None:
    """So that vLLM knows it by name. Once a process, however often it is called."""
    for factory, kind in (
        (WeightTransferEngineFactory, GlooEngine),
        (WeightTransferTrainerFactory, GlooTrainer),
    ):
        if NAME not in factory._registry:
            factory.register_engine(NAME, kind)
