"""Whether a machine or a cluster holds what is wanted, asked of the Ray that runs, before Serve is up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import serve
from ray.serve.exceptions import RayServeException

from deployments import serving
from deployments.serving import check_placed, cluster_nodes
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.placement.nodes import NeverFits


def node(number: int, address: str, gpus: int, alive: bool = True) -> dict[str, Any]:
    return {
        "NodeID": f"{number}" * 56,
        "NodeManagerAddress": address,
        "Resources": {"GPU": gpus},
        "Alive": alive,
    }


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        node(1, "10.0.0.1", 0),
        node(2, "10.0.0.2", 8),
        node(3, "10.0.0.2", 8),
        node(4, "10.0.0.9", 8, False),
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    here = SimpleNamespace(get_node_id=lambda: nodes[0]["NodeID"])
    monkeypatch.setattr(ray, "get_runtime_context", lambda: here)


def test_nodes_have_names_of_their_own_and_the_drivers_is_known(cluster: None) -> None:
    nodes = cluster_nodes()
    assert [(one.name, len(one.free), one.here) for one in nodes] == [
        ("10.0.0.1", 0, True), ("10.0.0.2 (22222222)", 8, False), ("10.0.0.2 (33333333)", 8, False),
    ]  # fmt: skip


def test_a_cluster_is_waited_for_unless_no_further_node_would_help(
    cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def refuse(error: ConfigError) -> Any:
        def rule(nodes: Any) -> Any:
            raise error

        return rule

    with pytest.raises(ConfigError, match="too few"):
        check_placed(Config.load(), said.append, refuse(ConfigError("too few.")))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    check_placed(Config.load(), said.append, refuse(ConfigError("too few.")))
    assert said == ["too few. Waiting for more of them."]
    with pytest.raises(NeverFits):
        check_placed(Config.load(), said.append, refuse(NeverFits("1.5 GPUs.")))


def test_what_fails_before_serve_is_up_is_the_error_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def delete(app: str) -> None:
        raise RayServeException("There is no Serve instance running on this Ray cluster.")

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(serve, "delete", delete)
    with pytest.raises(NeverFits), serving._ended(Config.load(), "app"):
        raise NeverFits("1.5 GPUs.")
