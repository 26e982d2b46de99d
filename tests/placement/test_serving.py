"""Engines, detector and depth model of a service, beside each other."""

from __future__ import annotations

import pytest

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.placement.nodes import NeverFits, Node
from valor_ray.placement.serving import serving_placement


def test_a_service_on_one_card_has_all_of_it() -> None:
    places = serving_placement(Config.load("gpu-1x24", []), [Node.of("n", 1)])
    assert sum(place.share for place in places.values()) == pytest.approx(1)
    assert {place.gpus for place in places.values()} == {(0,)}


def test_shares_that_add_up_and_fit_no_gpu_are_refused() -> None:
    config = Config.load("gpu", ["policy.num_gpus=0.6", "policy.replicas=3"])
    with pytest.raises(
        ConfigError, match=r"policy 2 wants 0.6 GPUs, and of 1 x 2 GPUs .*--set policy.replicas=2"
    ):
        serving_placement(config, [Node.of("n", 2)])
    with pytest.raises(ConfigError, match=r"policy 0 wants 1 GPUs, and of 0 GPUs .*smaller num_gpus"):
        serving_placement(Config.load("gpu", []), [Node.of("n", 0)])
    with pytest.raises(NeverFits, match=r"depth.num_gpus=1, or 2"):
        serving_placement(Config.load("gpu", ["depth.num_gpus=1.5"]), [Node.of("n", 8)])
