"""A machine that is about to be taken away: its learner saves, leaves, and is begun again elsewhere.

Ray says of such a machine that it drains, until a deadline: by its autoscaler before a spot instance goes, or by
`leave_node` here (jobs/leave_node.py), which a pod's preStop hook and whoever ends a machine call. Nothing new is
placed there from then on; Serve starts its replicas elsewhere, where there is room. Ray Train begins a learner whose
processes end on a draining machine again without counting it as a failure.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from valor_ray.errors import ServiceError

T = TypeVar("T")
_LOOK_S = 2.0
_LAST_WORDS_S = 1.0  # for what this process has sent to the others
_REASON = "DRAIN_NODE_REASON_PREEMPTION"  # never refused by Ray; the other one is, while anything works there


def watch_notice(told: Callable[[], object] = lambda: None) -> threading.Event:
    """In a process of the learner: set, and `told` called once from a thread, when its machine drains."""
    import ray

    own, noticed = ray.get_runtime_context().get_node_id(), threading.Event()

    def look() -> None:
        while not _drains(own):
            time.sleep(_LOOK_S)
        noticed.set()
        told()

    threading.Thread(target=look, name="drain-notice", daemon=True).start()
    return noticed


def _drains(node: str) -> bool:
    """False also while the head is away: it is asked again."""
    import ray

    try:
        return node in draining()
    except (RuntimeError, ray.exceptions.RayError):
        return False


def draining() -> dict[str, int]:
    """Node ids of the machines that drain, and until when (ms since 1970; 0: nobody knows)."""
    from ray._private.state import state  # as ray.train and ray.serve ask; there is no public way

    return dict(state.get_draining_nodes())


def same_in_all(own: T) -> T:
    """The first process's value, in every process of the learner."""
    from torch import distributed

    values = [own]
    if distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.broadcast_object_list(values)
    return values[0]


def leave_machine(step: int, note: Callable[[str, Any], None]) -> NoReturn:
    """End this process, which Ray Train takes for the machine's end."""
    note("say", f"a machine of the learner is about to be taken: step {step} is saved, it goes on elsewhere")
    time.sleep(_LAST_WORDS_S)
    os._exit(0)


def leave_node(seconds: float, say: Callable[[str], None], node: str | None = None) -> bool:
    """Have a machine drained, and wait until nothing of Ray's work is on it: whether that was within `seconds`.

    node: its id; None: the one that this process is connected to Ray by. Raises ServiceError when Ray refuses.
    """
    import ray
    from ray._private.state import available_resources_per_node
    from ray.core.generated import autoscaler_pb2

    context = ray.get_runtime_context()
    leaving, until = node or context.get_node_id(), time.time() + seconds
    taken, refusal = ray._raylet.GcsClient(address=context.gcs_address).drain_node(
        leaving, autoscaler_pb2.DrainNodeReason.Value(_REASON), "the machine will be taken", int(1000 * until)
    )
    if not taken:
        raise ServiceError(f"Ray does not let this machine go: {refusal}")
    say(f"node {leaving[:8]} drains for {seconds:g} s")
    while time.time() < until:
        (known,) = [known for known in ray.nodes() if known["NodeID"] == leaving]
        if not known["Alive"] or _idle(known["Resources"], available_resources_per_node().get(leaving, {})):
            return True
        time.sleep(_LOOK_S)
    return False


def _idle(has: dict[str, float], free: dict[str, float]) -> bool:
    return all(free.get(name, 0) >= has.get(name, 0) for name in ("CPU", "GPU"))
