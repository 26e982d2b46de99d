"""What the scaling benches make of their measurements; the measurements themselves are made by `valor bench`."""

from __future__ import annotations

from argparse import Namespace
from contextlib import nullcontext
from typing import Any

import pytest

from valor_ray.cli import build_parser
from valor_ray.perf.scaling import gateways, policies


def options(*words: str) -> Namespace:
    return build_parser(["bench"]).parse_args(["bench", *words])


def said(line: str) -> None:
    pass


def test_policies_compares_most_with_fewest_replicas_and_with_the_planner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(shape: Any, speed: Any, replicas: int, seconds: float, otherwise: str) -> dict[str, Any]:
        return {"rollouts_per_second": 100.0 if speed.seats > 1000 else 15.0 * replicas**0.95}

    monkeypatch.setattr(policies, "running_ray", lambda config, say: nullcontext())
    monkeypatch.setattr(policies, "_measured", measured)
    result = policies.run(options("policies"), said)
    assert result["ratio"] == pytest.approx(4**0.95, abs=0.01) and result["predicted_ratio"] == 4.0
    assert result["predicted"] == {"1": 16.0, "2": 32.0, "4": 64.0}
    assert result["scaling"]["4"] == pytest.approx(4**-0.05, abs=0.01)
    assert {"ours", "baseline", "uncapped", "target", "path"} <= set(result)


def test_gateways_names_what_bends_the_uncapped_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    def curve(args: Any, in_flight: int, otherwise: str, say: Any) -> dict[int, dict[str, Any]]:
        rates = {1: 31.0, 2: 61.0, 4: 120.0} if in_flight == 64 else {1: 110.0, 2: 180.0, 4: 170.0}
        return {
            replicas: {
                "calls_per_second": rate,
                "cpu_ms_per_call": 1700 / rate,
                "bound_by": f"bound at {rate:g}",
            }
            for replicas, rate in rates.items()
        }

    monkeypatch.setattr(gateways, "running_ray", lambda config, say: nullcontext())
    monkeypatch.setattr(gateways, "_curve", curve)
    result = gateways.run(options("gateways"), said)
    assert result["ratio"] == 3.87 and result["scaling"] == {"2": 0.984, "4": 0.968}
    assert result["most_calls_per_second"] == 180.0 and result["bound_by"] == "bound at 180"
    assert result["in_flight_each"] == 64 and result["latency_s"] == 2.0


def test_numbers_of_replicas_are_chosen() -> None:
    assert options("gateways", "--replicas", "4,1").replicas == (1, 4)
