"""Shipped weights that training gave: from what they came, and that training starts there again."""

from pathlib import Path
from typing import Any

import pytest
from shipped import LINE, TRAINED, ship_trained, write_origin

from valor_ray.config.models import CHECKPOINTS, resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.models.shipped import ORIGIN, WEIGHTS, check_origin, on_bases, origin_of, told


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return ship_trained(tmp_path / "checkpoints", monkeypatch)


def test_whatever_ships_is_a_base_or_says_truly_where_it_comes_from() -> None:
    for path in sorted(CHECKPOINTS.glob("*/")):
        check_origin(f"tabletop:{path.name}")
        assert path.name.startswith("trained-") == (path / ORIGIN).is_file()


def test_weights_say_what_they_were_trained_from(folder: Path) -> None:
    assert resolve_model("tabletop:trained-policy") == str(folder / "trained-policy")
    origin = check_origin("tabletop:trained-policy")
    assert origin is not None and (origin.base, origin.steps) == ("tabletop:policy", 80)
    assert told("tabletop:trained-policy") == "tabletop:trained-policy (trained from tabletop:policy)"


@pytest.mark.parametrize("model", ["tabletop:policy", "tabletop:depth", "owner/name", "PATH"])
def test_a_base_and_what_does_not_ship_have_no_origin(folder: Path, model: str) -> None:
    model = model.replace("PATH", str(folder / "trained-policy"))
    assert origin_of(model) is None and check_origin(model) is None and told(model) == model


def test_training_starts_from_the_bases_and_says_so_in_one_line(folder: Path) -> None:
    config, line = on_bases(Config.load("local", TRAINED))
    assert (config.policy.model, config.detector.model) == ("tabletop:policy", "tabletop:detector")
    assert line == LINE
    assert on_bases(config) == (config, "")


@pytest.mark.parametrize("given", ["tabletop:policy", "owner/name@v1", "/no/such/folder", "TRAINED"])
def test_who_names_another_model_gets_that(folder: Path, given: str) -> None:
    given = given.replace("TRAINED", str(folder / "trained-policy"))
    config, line = on_bases(Config.load("local", [TRAINED[1], f"policy.model={given}"]))
    assert config.policy.model == given
    assert line == "training starts from tabletop:detector, the base of tabletop:trained-detector"


def test_behind_an_endpoint_nothing_is_said_of_a_policy_that_does_not_write(folder: Path) -> None:
    writer = ("policy.endpoint.base_url=http://host/v1", "policy.endpoint.model=m")
    config, line = on_bases(Config.load("local", [TRAINED[0], "detector.model=owner/name", *writer]))
    assert (config.policy.model, line) == (
        "tabletop:policy",
        "",
    )  # a run folder says the same with and without


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Invalid JSON"),
        ("[1]", "all of it: Input should be an object"),
        ('{"base": "tabletop:policy"}', "sha256: Field required"),
        ({"base": "owner/name"}, "base: String should match"),
        ({"sha256": "abc"}, "sha256: String should match"),
        ({"steps": 0}, "steps: Input should be greater"),
        ({"labels": 5}, "labels: Extra inputs"),
    ],
)
def test_a_broken_origin_is_named_with_file_and_field(folder: Path, text: Any, said: str) -> None:
    trained = folder / "trained-policy"
    if isinstance(text, str):
        (trained / ORIGIN).write_text(text)
    else:
        write_origin(trained, **({"base": "tabletop:policy"} | text))
    with pytest.raises(ConfigError) as caught:
        on_bases(Config.load("local", TRAINED))
    assert str(trained / ORIGIN) in str(caught.value) and said in str(caught.value)
    assert "whole repository again" in str(caught.value)


def test_a_base_that_is_not_there_or_was_trained_itself_is_refused(folder: Path) -> None:
    write_origin(folder / "trained-policy", "tabletop:polizy")
    with pytest.raises(ConfigError, match="No shipped checkpoint 'tabletop:polizy'"):
        origin_of("tabletop:trained-policy")
    write_origin(folder / "trained-policy", "tabletop:trained-detector")
    with pytest.raises(ConfigError, match=r"base tabletop:trained-detector was trained itself\. Name what"):
        origin_of("tabletop:trained-policy")


@pytest.mark.parametrize("field", ["sha256", "base_sha256"])
def test_other_files_than_those_that_were_shipped_are_named(folder: Path, field: str) -> None:
    write_origin(folder / "trained-policy", "tabletop:policy", **{field: "0" * 64})
    of = "trained-policy" if field == "sha256" else "policy"
    with pytest.raises(ConfigError) as caught:
        check_origin("tabletop:trained-policy")
    assert f"{folder / of / WEIGHTS} (sha256 " in str(caught.value) and "(000000000000)" in str(caught.value)


def test_weights_that_are_missing_are_named(folder: Path) -> None:
    (folder / "trained-policy" / WEIGHTS).unlink()
    with pytest.raises(ConfigError, match=r"trained-policy/model\.safetensors is missing"):
        check_origin("tabletop:trained-policy")
