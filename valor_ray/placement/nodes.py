"""Machines and what is free of their GPUs; processes put on them as Ray puts them. Pure.

A process has a share of one GPU, or whole ones of one machine. What does not fit is a ConfigError with what would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from valor_ray.errors import ConfigError

_EPSILON = 1e-6
NODE_GPUS = 8  # of a node, where no cluster is at hand
_MOST_NODES = 1024  # looked for, where no cluster is at hand
_CPU = "0 (the CPU works)"

Places = dict[str, "Place"]  # "learner/0", "policy/0", … -> its place; only what has GPUs is named
Rule = Callable[[Sequence["Node"]], Places]  # raises ConfigError where the nodes do not hold it


class NeverFits(ConfigError):
    """What no further node would help."""


@dataclass
class Node:
    """A machine and what is free of each of its GPUs, as shares of 1."""

    name: str
    free: list[float] = field(default_factory=list)
    here: bool = False  # the driver runs on it

    @classmethod
    def of(cls, name: str, gpus: int, *, here: bool = False) -> Node:
        return cls(name, [1.0] * gpus, here)

    def copy(self) -> Node:
        return Node(self.name, list(self.free), self.here)

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

    def room(self, wanted: float) -> int:
        """How many processes of so many GPUs fit beside each other."""
        if wanted >= 1:
            return sum(free > 1 - _EPSILON for free in self.free) // round(wanted)
        return sum(int((free + _EPSILON) / wanted) for free in self.free)

    def holds(self, count: int, wanted: float) -> bool:
        """Whether so many processes of so many GPUs fit beside each other."""
        return self.room(wanted) >= count


@dataclass(frozen=True)
class Place:
    """Of a process."""

    node: str
    gpus: tuple[int, ...]
    share: float  # of each of them

    def record(self) -> dict[str, Any]:
        return {"node": self.node, "gpus": list(self.gpus), "share": round(self.share, 3)}


def records(places: Places) -> dict[str, dict[str, Any]]:
    """Process -> {node, gpus, share}, as `--dry-run --json` has it."""
    return {name: place.record() for name, place in places.items()}


def check_share(section: str, wanted: float) -> None:
    """Raises NeverFits for a number of GPUs that no process can have: Ray gives shares of one, or whole ones."""
    if wanted > 1 and wanted != int(wanted):
        raise NeverFits(
            f"{section}.num_gpus {wanted:g}: a process has a share of one GPU, or whole ones. Give --set "
            f"{section}.num_gpus={int(wanted)}, or {int(wanted) + 1}."
        )


def put(name: str, wanted: float, nodes: Sequence[Node], places: Places) -> bool:
    """On the node that is left with least; False: on none."""
    for node in sorted(nodes, key=lambda node: sum(node.free)):
        if (gpus := node.fits(wanted)) is not None:
            node.take(gpus, wanted)
            places[name] = Place(node.name, tuple(gpus), min(wanted, 1.0))
            return True
    return False


def put_group(name: str, count: int, wanted: float, nodes: Sequence[Node], places: Places) -> int:
    """On the node that is left with least, else on as few as can be; returns how many have found a place."""
    done = 0
    while done < count:
        size = min(count - done, max((node.room(wanted) for node in nodes), default=0))
        if not size:
            return done
        node = min((node for node in nodes if node.holds(size, wanted)), key=lambda node: sum(node.free))
        for number in range(done, done + size):
            put(f"{name}/{number}", wanted, [node], places)
        done += size
    return done


def with_freed(nodes: Sequence[Node], places: Sequence[Place]) -> list[Node]:
    """The same machines when those processes have gone."""
    free = [node.copy() for node in nodes]
    by_name = {node.name: node for node in free}
    for place in places:
        for n in place.gpus:
            by_name[place.node].free[n] += place.share
    return free


def have(nodes: Sequence[Node]) -> str:
    """In words: how many GPUs there are."""
    sizes = [len(node.free) for node in nodes if node.free]
    if not sizes:
        return "0 GPUs"
    if len(set(sizes)) == 1:
        return f"{len(sizes)} x {sizes[0]} GPUs"
    return f"nodes of {', '.join(map(str, sizes))} GPUs"


def fitting_gpus(count: int, nodes: Sequence[Node]) -> str:
    """The most GPUs that each of so many processes can have on empty nodes: whole ones, or a share of one."""
    largest = max((len(node.free) for node in nodes), default=0)
    for whole in range(largest, 0, -1):
        if sum(len(node.free) // whole for node in nodes) >= count:
            return str(whole)
    gpus = sum(len(node.free) for node in nodes)
    return f"{math.floor(100 / math.ceil(count / gpus)) / 100:g}" if gpus else _CPU


def nodes_of(gpus: int, each: int = NODE_GPUS) -> list[Node]:
    """Machines with so many GPUs in all: whole ones, and one with the rest."""
    sizes = [each] * (gpus // each) + [gpus % each] * (gpus % each > 0)
    return [Node.of(f"node-{number}", size, here=not number) for number, size in enumerate(sizes)]


def assumed_nodes(rule: Rule, wanted: float) -> list[Node]:
    """As many nodes of NODE_GPUS as a rule needs, where no cluster is at hand. wanted: GPUs, of all its processes."""
    for count in range(1, _MOST_NODES + 1):
        nodes = nodes_of(count * NODE_GPUS)
        try:
            rule(nodes)
        except ConfigError:
            if count * NODE_GPUS > 2 * wanted + NODE_GPUS:
                raise
            continue
        return nodes
    raise ConfigError(f"The settings want {wanted:g} GPUs, more than {_MOST_NODES} nodes of {NODE_GPUS}.")
