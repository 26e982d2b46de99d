"""`valor serve`: which process sits on which GPU. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from valor_ray.errors import ConfigError
from valor_ray.placement.nodes import Node, Places, check_share, have, put

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_PARTS = ("policy", "detector", "depth")


def serving_placement(config: Config, nodes: Sequence[Node]) -> Places:
    """ "policy/0", "detector/0", "depth/0", … -> its place; only what has GPUs is named.

    Raises ConfigError where the nodes do not hold it, with what would fit.
    """
    places: Places = {}
    left = [node.copy() for node in nodes]
    for part in _PARTS:
        section = getattr(config, part)
        check_share(part, section.num_gpus)
        for number in range(section.replicas if section.num_gpus else 0):
            if not put(f"{part}/{number}", section.num_gpus, left, places):
                fewer = f"--set {part}.replicas={number}, " if number else ""
                raise ConfigError(
                    f"{part} {number} wants {section.num_gpus:g} GPUs, and of {have(nodes)} nothing that large is left "
                    f"beside {len(places)} other replicas. Give {fewer}smaller num_gpus of {', '.join(_PARTS)} (0: the "
                    "CPU works), fewer of their replicas, or more GPUs."
                )
    return places
