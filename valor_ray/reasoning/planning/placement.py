"""Which process sits on which GPU: as Ray places it, said before anything starts. Pure.

The learner's group comes first, on one node where one can hold it (its processes talk most), then the policy's engines
on what is left. Detector and depth model are there for evaluations only: on what nobody has, else on the learner's
GPUs while it is not there. The driver has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_EPSILON = 1e-6
NODE_GPUS = 8  # of a node, where no cluster is at hand


@dataclass
class Node:
    """A machine and what is free of each of its GPUs, as shares of 1."""

    name: str
    free: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, gpus: int) -> Node:
        return cls(name, [1.0] * gpus)

    def fits(self, wanted: float) -> list[int] | None:
        """GPUs that a process of so many would get: whole ones, or the fullest that a share still fits into."""
        if wanted >= 1:
            whole = [n for n, free in enumerate(self.free) if free > 1 - _EPSILON]
            return whole[: round(wanted)] if len(whole) >= round(wanted) else None
        fitting = [n for n, free in enumerate(self.free) if free > wanted - _EPSILON]
        return [min(fitting, key=lambda n: (self.free[n], n))] if fitting else None

    def take(self, gpus: Sequence[int], wanted: float) -> None:
        for n in gpus:
            self.free[n] -= 1.0 if wanted >= 1 else wanted

    def holds(self, count: int, wanted: float) -> bool:
        """Whether `count` processes of so many GPUs fit beside each other."""
        trial = Node(self.name, list(self.free))
        for _ in range(count):
            gpus = trial.fits(wanted)
            if gpus is None:
                return False
            trial.take(gpus, wanted)
        return True


@dataclass(frozen=True)
class Place:
    """Of a process."""

    node: str
    gpus: tuple[int, ...]
    share: float  # of each of them

    def record(self) -> dict[str, Any]:
        return {"node": self.node, "gpus": list(self.gpus), "share": round(self.share, 3)}


def placement(config: Config, nodes: Sequence[Node]) -> dict[str, Place]:
    """ "learner/0", "policy/0", "detector/0", "depth/0", … -> its place; only what has GPUs is named.

    Raises ConfigError where the nodes do not hold it, with what would fit.
    """
    check_shares(config)
    left = [Node(node.name, list(node.free)) for node in nodes]
    places: dict[str, Place] = {}
    grpo, policy = config.grpo, config.policy
    _put_group("learner", grpo.workers, grpo.num_gpus, left, places)
    for number in range(policy.replicas if policy.num_gpus else 0):
        _put(f"policy/{number}", policy.num_gpus, left, places, config, nodes)
    learners = [place for name, place in places.items() if name.startswith("learner")]
    turns = _freed(nodes, learners)  # the learner and the evaluation take turns
    for name, part in (("detector", config.detector), ("depth", config.depth)):
        for number in range(part.replicas if part.num_gpus and grpo.eval_questions else 0):
            where = left if any(node.fits(part.num_gpus) for node in left) else turns
            _put(f"{name}/{number}", part.num_gpus, where, places, config, nodes)
    return places


def check_shares(config: Config) -> None:
    """Raises ConfigError for a number of GPUs that no process can have: Ray gives shares of one, or whole ones."""
    for name in ("policy", "detector", "depth", "grpo"):
        wanted = getattr(config, name).num_gpus
        if wanted > 1 and wanted != int(wanted):
            raise ConfigError(
                f"{name}.num_gpus {wanted:g}: a process has a share of one GPU, or whole ones. Give --set "
                f"{name}.num_gpus={int(wanted)}, or {int(wanted) + 1}."
            )


def assumed_nodes(config: Config) -> list[Node]:
    """As many nodes of NODE_GPUS as the settings need, where no cluster is at hand."""
    for count in range(1, 1025):
        nodes = [Node.of(f"node-{n}", NODE_GPUS) for n in range(count)]
        try:
            placement(config, nodes)
        except ConfigError:
            if count * NODE_GPUS > 2 * _wanted(config) + NODE_GPUS:
                raise
            continue
        return nodes
    raise AssertionError


def _wanted(config: Config) -> float:
    grpo, policy = config.grpo, config.policy
    return grpo.workers * grpo.num_gpus + policy.replicas * policy.num_gpus


def _put_group(name: str, count: int, wanted: float, nodes: list[Node], places: dict[str, Place]) -> None:
    """On the node that is left with least, else on as few as can be."""
    if not wanted:
        return
    done = 0
    while done < count:
        for size in range(count - done, 0, -1):
            holding = [node for node in nodes if node.holds(size, wanted)]
            if holding:
                node = min(holding, key=lambda node: sum(node.free))
                for number in range(done, done + size):
                    gpus = node.fits(wanted)
                    assert gpus is not None
                    node.take(gpus, wanted)
                    places[f"{name}/{number}"] = Place(node.name, tuple(gpus), min(wanted, 1.0))
                done += size
                break
        else:
            raise ConfigError(
                f"The learner wants {count} x {wanted:g} GPUs, and {_have(nodes)} hold {done} of its processes. Give "
                + (f"--set grpo.workers={done} (and a grpo.micro_batch that divides), or " if done else "")
                + "more GPUs, or a profile for fewer (`valor plan --gpus N`)."
            )


def _put(
    name: str,
    wanted: float,
    nodes: list[Node],
    places: dict[str, Place],
    config: Config,
    all_nodes: Sequence[Node],
) -> None:
    for node in sorted(nodes, key=lambda node: sum(node.free)):
        if (gpus := node.fits(wanted)) is not None:
            node.take(gpus, wanted)
            places[name] = Place(node.name, tuple(gpus), min(wanted, 1.0))
            return
    part, number = name.split("/")
    fits = (
        f"--set {part}.replicas={number}" if int(number) else f"a smaller {part}.num_gpus (it is {wanted:g})"
    )
    learner = config.grpo.workers * config.grpo.num_gpus
    raise ConfigError(
        f"{part} {number} wants {wanted:g} GPUs, and of {_have(all_nodes)} nothing that large is left beside a learner "
        f"with {learner:g}. Give {fits}, fewer grpo.workers, or more GPUs (`valor plan --gpus N`)."
    )


def _freed(nodes: Sequence[Node], places: Sequence[Place]) -> list[Node]:
    """The GPUs of those processes, empty."""
    freed = [Node(node.name, [0.0] * len(node.free)) for node in nodes]
    by_name = {node.name: node for node in freed}
    for place in places:
        for n in place.gpus:
            by_name[place.node].free[n] = min(1.0, by_name[place.node].free[n] + place.share)
    return freed


def _have(nodes: Sequence[Node]) -> str:
    sizes = [len(node.free) for node in nodes]
    if len(set(sizes)) == 1:
        return f"{len(sizes)} x {sizes[0]} GPUs"
    return f"nodes of {', '.join(map(str, sizes))} GPUs"
