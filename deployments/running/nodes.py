"""Are the cluster's nodes like this one: our code, the packages that matter, the judges' keys? Asked before a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import valor_ray
from deployments.failures import last_line
from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_PACKAGES = ("ray", "torch", "vllm", "transformers", "trl", "accelerate")
_FOLDERS = (Path(valor_ray.__file__).parent, Path(__file__).parent)
_ANSWER_S = 120.0  # a node starts a process for it
_SHOWN = 5  # nodes in a message


@dataclass(frozen=True)
class Machine:
    """What must be alike."""

    code: str  # of valor_ray and deployments: version and a digest
    packages: Mapping[str, str]  # name -> version, "none"
    keys: frozenset[str]  # of the settings' keys: names of variables that are set


def this_machine(config: Config) -> Machine:
    """Of the machine that calls it; reads all our sources, some megabytes."""
    code = hashlib.sha256()
    for folder in _FOLDERS:
        for path in sorted(folder.rglob("*.py")):
            code.update(path.read_bytes())
    return Machine(
        f"{valor_ray.__version__}-{code.hexdigest()[:12]}",
        {name: _version(name) for name in _PACKAGES},
        frozenset(_keys(config)),
    )


def differences(own: Machine, other: Machine, *, works: bool) -> list[str]:
    """In words. works: whether replicas may be there, gateways among them, which want keys."""
    said = []
    if own.code != other.code:
        said.append(f"valor_ray {other.code} (here {own.code})")
    said += [
        f"{name} {other.packages.get(name, 'none')} (here {version})"
        for name, version in own.packages.items()
        if other.packages.get(name, "none") != version
    ]
    if works and (missing := sorted(own.keys - other.keys)):
        said.append(f"{', '.join(missing)} not set")
    return said


def check_nodes(config: Config) -> None:
    """Asks each node of the Ray that runs. Raises ConfigError that names nodes that are not like this one.

    Waits for a process to start on each, some seconds; a node that does not answer in time is left out: it may be
    about to go. Nodes that come later are not asked.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    own, ask = this_machine(config), ray.remote(this_machine)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = [
        ask.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(config)
        for node in nodes
    ]
    ready, _ = ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_S)
    said = []
    for node, answer in zip(nodes, asked, strict=True):
        if answer not in ready:
            continue
        try:
            found = differences(own, ray.get(answer), works=node["Resources"].get("CPU", 0) > 0)
        except ray.exceptions.RayTaskError as error:
            found = [f"our code does not run there ({last_line(error)})"]
        except ray.exceptions.RayError:  # it has gone meanwhile
            continue
        if found:
            said.append(f"{node['NodeManagerAddress']}: {'; '.join(found)}")
    if said:
        more = "" if len(said) <= _SHOWN else f"\n  and {len(said) - _SHOWN} more"
        raise ConfigError(
            f"{len(said)} of {len(nodes)} nodes are not like the machine of this command:\n  "
            + "\n  ".join(said[:_SHOWN])
            + f"{more}\nGive all pods the same image and secret (docs/cluster.md), or install there what is here."
        )


def _keys(config: Config) -> Iterator[str]:
    for part in ("judge", "vlm"):
        for name, endpoint in getattr(config, part).endpoints(part).items():
            if endpoint.base_url is None or endpoint.api_key_env is None:
                continue
            try:
                endpoint.api_key(name)
            except ConfigError:
                continue
            yield endpoint.api_key_env


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
