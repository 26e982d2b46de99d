"""New weights from the learner's memory into running engines, by vLLM's own weight transfer: no file, no host copy.

Who does what, for one version:

    learner, all     LiveChannel.publish    agree on the way: live, or by files
    learner, first   announces a Transfer   to the publications' actor, which wakes the members
    replicas         receive_weights        pause, join the group where it is new, receive, go on, score the probe
    learner, all     send_weights           gathers a tensor after another; the first broadcasts it
    learner, first   waits                  until the actor has heard that every member carries the version
    learner, first   check                  each tensor came to each member's workers as it was sent, by its checksum

A group is the learner's first process and the replicas that carried the last version. Where those that live now are
others (a replica has died, come back, or been added), the version goes by files to all of them, and the next one by a
new group. So a replica that starts always finds a folder, and a file is written only when somebody needs it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from valor_ray.doctor.listening import free_port
from valor_ray.errors import CheckpointError
from valor_ray.models.vllm.transfer.checksums import checksum, first_difference, in_words
from valor_ray.runs.publications import Checksums, Transfer, version_name
from valor_ray.runs.weight_channel import Probe, Published, SentWeights, WeightChannel, Weights

if TYPE_CHECKING:
    import torch

_PARTING_S = 90.0  # for a broadcast to fail by itself when a member has


@dataclass(frozen=True)
class Told:
    """A version that the members have heard of."""

    wait: Callable[[], Published]  # until they carry it; raises CheckpointError, PolicyError
    withdraw: Callable[[str, str], None]  # (replica, reason): all of them go back to the last folder


Announce = Callable[[str, Transfer, Probe], Told]


class LiveChannel:
    """runs.weight_channel.WeightChannel in every learner process.

    Blocks, in `publish`, until all members carry the version. A member that dies while it receives leaves the others
    with a mixture: they refuse, and are replaced. The learner then raises CheckpointError and goes on from its last
    checkpoint; where the broadcast hangs on after that (NCCL waits for ever), its process ends. A tensor that came to a
    replica with other bytes than were sent is a CheckpointError too: the version is withdrawn.
    """

    def __init__(
        self,
        files: WeightChannel,
        members: Callable[[], tuple[str, ...]],
        announce: Announce,
        agree: Callable[[Any], Any],
        *,
        backend: str,
        engine_ranks: int,
        rank: int,
        address: Callable[[], str],
    ) -> None:
        """files: the way for whoever is new. members: replicas that live now, in the first process. announce: wakes
        them. agree: the first process's object, for all. engine_ranks: GPUs of a replica. address: of this machine,
        for the members to connect to."""
        self._files, self._members, self._announce, self._agree = files, members, announce, agree
        self._backend, self._engine_ranks, self._rank, self._address = backend, engine_ranks, rank, address
        self._carried: tuple[str, ...] = ()  # by whom, of the last version
        self._group: tuple[str, ...] = ()  # of the engine
        self._engine: Any = None
        self._client: _Replicas | None = None

    def publish(self, step: int, weights: Weights, probe: Probe) -> Published | None:
        now = self._members() if self._rank == 0 else ()
        members: tuple[str, ...] = self._agree(now if now and now == self._carried else ())
        if not members:
            published = self._files.publish(step, weights, probe)
            self._carried = self._members() if published is not None and published.replicas else ()
            return published
        return self._send(step, cast(SentWeights, weights), probe, members)

    def _send(
        self, step: int, weights: SentWeights, probe: Probe, members: tuple[str, ...]
    ) -> Published | None:
        joins = members != self._group
        self._carried, self._group = (), ()  # until it has worked
        if joins:
            if self._engine is not None:
                self._engine.shutdown()
            source = weights.parts()
            if self._rank == 0:
                source = _Summed(source)
                self._client = _Replicas(self._announce, members, source)
        if self._client is not None:
            self._client.begin(version_name(step), probe)
        try:
            if joins:
                self._engine = self._initialised(members, source)
            self._engine.send_weights()
        finally:
            if self._client is not None:
                self._client.ended.set()
        if self._client is not None:
            self._client.check()
        self._carried = self._group = members
        return None if self._client is None else self._client.published

    def _initialised(self, members: tuple[str, ...], source: Any) -> Any:
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

        first = self._rank == 0
        init = trainer_settings(self._backend)(
            rank=self._rank,
            master_address=self._address() if first else "",
            master_port=free_port() if first else 0,
            world_size=1 + len(members) * self._engine_ranks,
        )
        return WeightTransferTrainerFactory.trainer_init(init, client=cast(Any, self._client), source=source)


def trainer_settings(backend: str) -> Callable[..., Any]:
    """The class of a trainer's settings for `policy.weight_transfer`."""
    if backend == "gloo":
        from valor_ray.models.vllm.transfer.gloo import GlooTrainerInit, register

        register()
        return GlooTrainerInit
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

    return NCCLTrainerInitInfo


class _Summed:
    """A vLLM WeightSource that notes the checksum of each tensor as it is sent."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._sums: dict[str, torch.Tensor] = {}

    def metadata(self) -> Any:
        return self._source.metadata()

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        self._sums = {}
        for name, tensor in self._source:
            self._sums[name] = checksum(tensor)
            yield name, tensor

    def sent(self) -> Checksums:
        """Of the last pass. Waits for the device."""
        return in_words(self._sums)


class _Replicas:
    """vLLM's VLLMWeightSyncClient: what its trainer tells the engines, told to all members in one publication."""

    def __init__(self, announce: Announce, members: tuple[str, ...], source: _Summed) -> None:
        self._announce, self._members, self._source = announce, members, source
        self._name = uuid.uuid4().hex
        self._init: dict[str, Any] | None = None
        self._told: Told | None = None
        self.published: Published | None = None
        self.ended = threading.Event()  # the transfer in work has come to its end, good or bad

    def begin(self, version: str, probe: Probe) -> None:
        self._version, self._probe, self._told, self.published = version, probe, None, None
        self.ended.clear()

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """They come to the meeting point when they hear of the version."""
        self._init = init_info
        self._tell()

    def start_weight_update(self) -> None:
        """They do it by themselves when they hear of the version."""

    def update_weights(self, _update_info: Any) -> None:
        self._tell()
        assert self._told is not None
        try:
            self.published = self._told.wait()
        except BaseException:
            _end_unless(self.ended)
            raise

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """They do it by themselves when all is there."""

    def _tell(self) -> None:
        if self._told is not None:
            return
        meta = self._source.metadata()
        update = {
            "names": [each.name for each in meta],
            "dtype_names": [str(each.dtype).rpartition(".")[2] for each in meta],
            "shapes": [list(each.shape) for each in meta],
        }
        transfer = Transfer(self._name, self._members, json.dumps(self._init), json.dumps(update))
        self._told = self._announce(self._version, transfer, self._probe)

    def check(self) -> None:
        """Whether every worker of every member was given what was sent. Raises CheckpointError."""
        assert self._told is not None and self.published is not None
        sent = self._source.sent()
        for replica, workers in self.published.received.items():
            for received in workers or [{}]:
                if (tensor := first_difference(sent, received)) is not None:
                    self._told.withdraw(replica, f"{tensor} came to it with other bytes than were sent")
                    raise CheckpointError(
                        f"{self._version} is withdrawn: {tensor} came to replica {replica} with other bytes than were "
                        "sent (its checksum is another). The run goes on from its last checkpoint; where this happens "
                        "again, a network or a memory between the two is faulty: give policy.weight_transfer=null."
                    )


def _end_unless(ended: threading.Event) -> None:
    """A broadcast to a member that has gone may never return: the process ends then, and Ray Train starts it anew."""

    def watch() -> None:
        if not ended.wait(_PARTING_S):
            print(
                "The transfer of weights hangs after a replica has failed: this learner process ends, and begins again "
                "from the last checkpoint.",
                file=sys.stderr,
                flush=True,
            )
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
