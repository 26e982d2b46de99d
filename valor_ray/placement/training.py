"""`valor train reasoning`: which process sits on which GPU. Pure.

The learner's group comes first, on one node where one can hold it (its processes talk most), then the policy's engines
on what is left. Detector and depth model are there for evaluations only: on what nobody has, and on the learner's GPUs
while it is not there. The driver has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from valor_ray.errors import ConfigError
from valor_ray.placement.nodes import Node, Places, check_share, have, put, put_group, with_freed

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


def placement(config: Config, nodes: Sequence[Node]) -> Places:
    """ "learner/0", "policy/0", "detector/0", "depth/0", … -> its place; only what has GPUs is named.

    Raises ConfigError where the nodes do not hold it, with what would fit.
    """
    grpo, policy = config.grpo, config.policy
    for name in ("policy", "detector", "depth", "grpo"):
        check_share(name, getattr(config, name).num_gpus)
    left = [node.copy() for node in nodes]
    places: Places = {}
    if grpo.num_gpus:
        placed = put_group("learner", grpo.workers, grpo.num_gpus, left, places)
        _check_learner(config, placed, nodes)
    for number in range(policy.replicas if policy.num_gpus else 0):
        if not put(f"policy/{number}", policy.num_gpus, left, places):
            raise _no_room("policy", number, config, nodes)
    learners = [place for name, place in places.items() if name.startswith("learner/")]
    away = with_freed(left, learners)  # the learner and the evaluation take turns
    for name, part in (("detector", config.detector), ("depth", config.depth)):
        for number in range(part.replicas if part.num_gpus and grpo.eval_questions else 0):
            idle = any(node.fits(part.num_gpus) for node in left)
            if not put(f"{name}/{number}", part.num_gpus, left if idle else away, places):
                raise _no_room(name, number, config, nodes)
            place = places[f"{name}/{number}"]
            for there in away if idle else left:  # the other view of the same GPUs
                if there.name == place.node:
                    there.take(place.gpus, part.num_gpus)
    return places


def wanted_gpus(config: Config) -> float:
    """Of learner and engines, which work at the same time."""
    grpo, policy = config.grpo, config.policy
    return grpo.workers * grpo.num_gpus + policy.replicas * policy.num_gpus


def _check_learner(config: Config, placed: int, nodes: Sequence[Node]) -> None:
    grpo = config.grpo
    if placed < grpo.workers:
        raise ConfigError(
            f"The learner wants {grpo.workers} x {grpo.num_gpus:g} GPUs, and {have(nodes)} hold {placed} of its "
            "processes. Give "
            + (f"--set grpo.workers={placed} (and a grpo.micro_batch that divides), or " if placed else "")
            + "more GPUs, or a profile for fewer (`valor plan --gpus N`)."
        )


def _no_room(part: str, number: int, config: Config, nodes: Sequence[Node]) -> ConfigError:
    wanted = getattr(config, part).num_gpus
    fits = f"--set {part}.replicas={number}" if number else f"a smaller {part}.num_gpus (it is {wanted:g})"
    learner = config.grpo.workers * config.grpo.num_gpus
    return ConfigError(
        f"{part} {number} wants {wanted:g} GPUs, and of {have(nodes)} nothing that large is left beside a learner "
        f"with {learner:g}. Give {fits}, fewer grpo.workers, or more GPUs (`valor plan --gpus N`)."
    )
