"""The Serve YAML files: what `serve run` and `serve deploy` are handed is what the app's builder takes."""

from pathlib import Path

import pytest
import yaml

from deployments.app import PARTS, app
from valor_ray.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "deployments"


@pytest.mark.parametrize("name", ["local", "gpu"])
def test_yaml_names_a_builder_that_takes_its_args(name: str) -> None:
    (application,) = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["applications"]
    assert application["import_path"] == "deployments.app:app"
    built = app(application["args"])
    assert built._bound_deployment.name == "front_door" and "front_door" in PARTS


def test_unknown_args_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="profil"):
        app({"profil": "local"})


def test_unknown_settings_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"detector\.box_threshold"):
        app({"overrides": ["detector.box_treshold=0.2"]})
