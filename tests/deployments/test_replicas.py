"""How many replicas a part has: as many as the settings say, or between two numbers, by what waits."""

from __future__ import annotations

from deployments.app import eye_apps, gateway_app, policy_app
from valor_ray.config.tree import Config


def options(app: object) -> object:
    """Of the deployment that an app is."""
    return app._bound_deployment  # type: ignore[attr-defined]


def test_without_more_they_are_fixed() -> None:
    config = Config.load("local", ["judge.replicas=3", "detector.replicas=2"])
    judge = options(gateway_app(config.judge, "/answers", "judge"))
    assert judge.num_replicas == 3 and judge._deployment_config.autoscaling_config is None
    assert options(eye_apps(config)["detector"]).num_replicas == 2


def test_with_more_serve_adds_them_while_calls_wait() -> None:
    more = ["judge.replicas=2", "judge.max_replicas=8", "detector.max_replicas=4", "depth.max_replicas=1"]
    config = Config.load("local", more)
    judge = options(gateway_app(config.judge, "/answers", "judge"))._deployment_config.autoscaling_config
    assert (judge.min_replicas, judge.max_replicas) == (2, 8)
    assert judge.target_ongoing_requests == config.judge.first_in_flight
    eyes = eye_apps(config)
    detector = options(eyes["detector"])._deployment_config.autoscaling_config
    assert (detector.min_replicas, detector.max_replicas) == (1, 4)
    assert options(eyes["depth"])._deployment_config.autoscaling_config is None


def test_engines_are_fixed_as_their_number_decides_what_a_run_computes() -> None:
    config = Config.load("local", ["policy.replicas=2"])
    assert options(policy_app(config, None)).num_replicas == 2
