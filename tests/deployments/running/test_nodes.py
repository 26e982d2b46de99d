"""A node with other code, another package, or without a key is named before a run begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployments.running import nodes
from deployments.running.nodes import Machine, check_nodes, differences, this_machine
from deployments.serving import running_ray
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError

OWN = Machine("0.1.0-abc", {"ray": "2.60.0", "torch": "2.9"}, frozenset({"JUDGE_KEY"}))
ENDPOINT = ["judge.base_url=https://host/v1", "judge.api_key_env=JUDGE_KEY"]


def test_what_differs_is_said_with_both_sides() -> None:
    assert differences(OWN, OWN, works=True) == []
    other = Machine("0.1.0-def", {"ray": "2.60.0"}, frozenset())
    assert differences(OWN, other, works=True) == [
        "valor_ray 0.1.0-def (here 0.1.0-abc)", "torch none (here 2.9)", "JUDGE_KEY not set",
    ]  # fmt: skip
    assert (
        differences(OWN, replace(OWN, keys=frozenset()), works=False) == []
    )  # a head without work wants no key
    assert differences(replace(OWN, keys=frozenset()), OWN, works=True) == []  # more than here does no harm


def test_only_keys_that_the_settings_name_and_that_are_set_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    assert this_machine(Config.load("local")).keys == frozenset()
    assert this_machine(Config.load("local", ENDPOINT)).keys == frozenset()
    monkeypatch.setenv("JUDGE_KEY", "x")
    machine = this_machine(Config.load("local", ENDPOINT))
    assert machine.keys == {"JUDGE_KEY"} and machine == this_machine(Config.load("local", ENDPOINT))
    assert machine.packages["ray"] == "2.60.0" and machine.code.startswith("0.1.0-")


def test_a_node_that_is_not_like_this_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    config = Config.load("local", ENDPOINT)
    with running_ray(config, lambda line: None):
        check_nodes(config)
        monkeypatch.setenv("JUDGE_KEY", "x")  # after the node has started without it
        with pytest.raises(ConfigError, match=r"1 of 1 nodes .*\n  [\d.]+: JUDGE_KEY not set\nGive all pods"):
            check_nodes(config)
        monkeypatch.setattr(nodes, "_PACKAGES", ("ray", "nothing"))
        monkeypatch.setattr(nodes, "_version", lambda name: "9.9")
        with pytest.raises(
            ConfigError, match=r"ray 2\.60\.0 \(here 9\.9\); nothing none \(here 9\.9\); JUDGE_KEY"
        ):
            check_nodes(config)
