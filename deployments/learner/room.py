"""Room on the cluster for a learner's group: taken before others are placed, waited for with words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from valor_ray.placement.nodes import Node

LEARNER_CPUS = 0.5  # logical, of a process
_SAY_S = 15.0
_LOOK_S = 5.0
_LOOKS = round(_SAY_S / _LOOK_S)


@dataclass(frozen=True)
class Group:
    """A learner's processes."""

    workers: int
    num_gpus: float  # of each

    def strategy(self) -> str:
        """All on one node, where one can hold them: they talk most. Needs a Ray that runs."""
        import ray

        gpus = [int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"]]
        one = self.num_gpus > 0 and any(
            Node.of("", count).holds(self.workers, self.num_gpus) for count in gpus
        )
        return "STRICT_PACK" if one else "PACK"

    def waits(self) -> str:
        """A line for the user. Needs a Ray that runs."""
        import ray

        free = ray.available_resources()
        wanted = (f"{self.num_gpus:g} GPUs and " if self.num_gpus else "") + f"{LEARNER_CPUS:g} CPUs"
        where = " on one node" if self.strategy() == "STRICT_PACK" else ""
        return (
            f"waiting for room for the learner: {self.workers} x {wanted}{where}; the cluster has "
            f"{free.get('GPU', 0):g} GPUs and {free.get('CPU', 0):g} CPUs free"
        )


@contextmanager
def reserved(group: Group, say: Callable[[str], None]) -> Iterator[None]:
    """Room for a learner's group, taken before anybody else is placed in the block, and free again after it.

    Serve spreads replicas over the nodes: placed first, they would leave the learner a GPU here and a GPU there. Waits
    for room, however long: on a cluster nodes may be on their way.
    """
    if not group.num_gpus:
        yield
        return
    from ray.util import placement_group, remove_placement_group

    bundles = [{"CPU": LEARNER_CPUS, "GPU": group.num_gpus}] * group.workers
    placed = placement_group(bundles, strategy=group.strategy())
    try:
        while not placed.wait(_SAY_S):
            say(group.waits())
        yield
    finally:
        remove_placement_group(placed)


class RoomWatch:
    """Says every 15 s that Ray Train waits for room for a learner, at its start and whenever it begins it again."""

    def __init__(self, group: Group, say: Callable[[str], None]) -> None:
        self._group, self._say = group, say
        self._next = 0.0
        self._seen = 0  # looks in a row at which it waited

    def look(self, now: float) -> None:
        """now: on a clock that never goes back, s. Called at any time; it looks every few seconds."""
        if now < self._next:
            return
        self._next = now + _LOOK_S
        self._seen = self._seen + 1 if group_waits() else 0
        if self._seen and self._seen % _LOOKS == 0:
            self._say(self._group.waits())


def group_waits() -> bool:
    """Whether a placement group of this driver's has found no room yet: of those, only Ray Train makes any."""
    import ray
    from ray.util import placement_group_table

    try:
        groups = placement_group_table().values()
    except (RuntimeError, ray.exceptions.RayError):  # the head is away: nobody knows
        return False
    own = ray.get_runtime_context().get_job_id()
    return any(group["state"] == "PENDING" and group["placement_group_id"].endswith(own) for group in groups)
