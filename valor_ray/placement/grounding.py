"""`valor mine` and `valor train grounding`: which process sits on which GPU. Pure.

Mining's two streams have their models one after the other: the policy's engines are gone before the first detector
starts. Fine-tuning mines first, where no set is named, and then its learner's group has all nodes to itself: on one
where one can hold it, on the driver's where the run lies at a URL, as it brings its files there from that machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from valor_ray.errors import ConfigError
from valor_ray.placement.nodes import NeverFits, Node, Places, check_share, fitting_gpus, have, put, put_group

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


def mining_placement(config: Config, nodes: Sequence[Node], *, programs: bool = True) -> Places:
    """ "policy/0", …, "detector/0", … -> its place; only what has GPUs is named.

    programs: whether any are to be written, for which the policy is started. Raises ConfigError where the nodes do not
    hold it, with what would fit.
    """
    places: Places = {}
    for part in ("policy", "detector") if programs else ("detector",):
        section = getattr(config, part)
        check_share(part, section.num_gpus)
        left = [node.copy() for node in nodes]  # the one before has gone
        for number in range(section.replicas if section.num_gpus else 0):
            if not put(f"{part}/{number}", section.num_gpus, left, places):
                fewer = f"--set {part}.replicas={number}, " if number else ""
                raise ConfigError(
                    f"{part}.replicas {section.replicas} x {part}.num_gpus {section.num_gpus:g}: {have(nodes)} hold "
                    f"{number} of them. Give {fewer}--set {part}.num_gpus={fitting_gpus(section.replicas, nodes)}, or "
                    "more GPUs."
                )
    return places


def finetune_placement(
    config: Config, nodes: Sequence[Node], *, mines: bool = False, programs: bool = True, here: bool = False
) -> Places:
    """ "learner/0", … -> its place, and the places of mining where that comes first.

    here: the learner is on the driver's machine, with a run at a URL. Raises ConfigError where the nodes do not hold
    it, with what would fit.
    """
    settings = config.finetune
    check_share("finetune", settings.num_gpus)
    places = mining_placement(config, nodes, programs=programs) if mines else {}
    left = [node.copy() for node in nodes if node.here or not here]
    if settings.num_gpus:
        placed = put_group("learner", settings.workers, settings.num_gpus, left, places)
        if placed < settings.workers:
            empty = [node for node in nodes if node.here or not here]
            raise (NeverFits if here else ConfigError)(_no_learner(config, placed, empty, here=here))
    return places


def wanted_gpus(config: Config) -> float:
    """The most of all phases."""
    mining = max(part.replicas * part.num_gpus for part in (config.policy, config.detector))
    return max(mining, config.finetune.workers * config.finetune.num_gpus)


def _no_learner(config: Config, placed: int, nodes: Sequence[Node], *, here: bool) -> str:
    settings = config.finetune
    fits = f"--set finetune.num_gpus={fitting_gpus(settings.workers, nodes)}"
    if placed:
        pictures = settings.workers * settings.batch  # of a step
        batch = "" if pictures % placed else f" --set finetune.batch={pictures // placed}"
        fits = f"--set finetune.workers={placed}{batch}, or {fits}"
    return (
        f"finetune.workers {settings.workers} x finetune.num_gpus {settings.num_gpus:g}: {have(nodes)}"
        f"{' on the machine of this command, where the learner of a run at a URL is,' if here else ''} hold {placed} "
        f"of the learner's processes. Give {fits}, or more GPUs."
    )
