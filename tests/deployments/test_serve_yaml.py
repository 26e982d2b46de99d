"""The Serve YAML files: what `serve run` and `serve deploy` are handed is what the app's builder takes."""

from pathlib import Path

import pytest
import yaml
from ray.serve import Application

from deployments.app import app, build, parts, policy_app
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "deployments"


@pytest.mark.parametrize("name", ["local", "gpu"])
def test_yaml_names_a_builder_that_takes_its_args(name: str) -> None:
    (application,) = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["applications"]
    assert application["import_path"] == "deployments.app:app"
    built = app(application["args"])
    assert built._bound_deployment.name == "front_door"


def deployments(application: Application) -> dict[str, Application]:
    """Those that an app is bound to, by name."""
    given = application._bound_deployment.init_args
    return {part._bound_deployment.name: part for part in given if isinstance(part, Application)}


@pytest.mark.parametrize(
    ("overrides", "part", "model"),
    [
        ([], "judge", "tabletop-judge"),
        (["vlm.noise=0.1"], "vlm", "tabletop-judge"),
        (["vlm.model=e"], "vlm", "e"),
    ],
)
def test_the_app_has_one_gateway_and_it_is_of_what_sees_pictures(
    overrides: list[str], part: str, model: str
) -> None:
    config = Config.load("local", overrides)
    bound = deployments(build(config))
    assert {*bound, "front_door"} == set(parts(config)) and {"judge", "vlm"} & set(bound) == {part}
    settings, folder, told = bound[part]._bound_deployment.init_args
    assert (settings.model, folder, told) == (model, None, part)


def test_only_the_policy_of_a_run_that_trains_adapters_has_room_for_them() -> None:
    def rank(run: str | None, *overrides: str) -> int | None:
        application = policy_app(Config.load("local", list(overrides)), run)
        settings, followed, rank = application._bound_deployment.init_args
        assert followed == run and settings.model == Config.load().policy.model
        return rank

    assert rank("/runs/first", "grpo.lora_rank=4") == 4
    assert rank("/runs/first") is None and rank(None, "grpo.lora_rank=4") is None


def test_unknown_args_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="profil"):
        app({"profil": "local"})


def test_unknown_settings_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"detector\.box_threshold"):
        app({"overrides": ["detector.box_treshold=0.2"]})


def test_serve_looks_often_whether_a_part_lives_and_logs_no_calls() -> None:
    built = build(Config.load())
    for part in (built, *deployments(built).values()):
        settings = part._bound_deployment._deployment_config
        assert settings.health_check_period_s <= 2
        assert settings.logging_config["enable_access_log"] is False
