"""What `--dry-run` of the loops has in common: where a run would be, and how its plan is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import show
from valor_ray.placement.nodes import Node, Rule, assumed_nodes

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


def planned_nodes(config: Config, rule: Rule, wanted: float, say: Callable[[str], None]) -> list[Node]:
    """Of the cluster that RAY_ADDRESS names, else this machine, else as many nodes of 8 GPUs as are needed.

    wanted: GPUs that the rule places. Raises ConfigError, ServiceError.
    """
    if config.ray.address() is not None:
        from deployments.serving import cluster_nodes, running_ray

        with running_ray(config, say):
            return cluster_nodes()
    if not wanted:
        return []
    here = _here()
    return [here] if here.free else assumed_nodes(rule, wanted)


def check_here(config: Config, rule: Rule, wanted: float) -> None:
    """Before anything is begun: raises ConfigError where this machine does not hold what a rule places.

    Nothing where it goes to the cluster of RAY_ADDRESS, which is asked when the run is there.
    """
    if wanted and config.ray.address() is None:
        rule([_here()])


def print_plan(planned: Mapping[str, Any], width: int) -> None:
    for name, value in _flat(planned):
        show(f"{name:<{width}}{'–' if value is None else value}")


def _here() -> Node:
    import torch

    return Node.of("this machine", torch.cuda.device_count(), here=True)


def _flat(report: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values; of what is nested, with the names above it."""
    for name, value in report.items():
        if isinstance(value, Mapping) and "gpus" in value:  # the place of a process
            yield before + name, f"{value['node']}, GPUs {value['gpus']}, {value['share']:.0%} of each"
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value
