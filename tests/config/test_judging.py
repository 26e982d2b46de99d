"""Endpoints: what the section vlm takes from judge, extra fields, and which section a message names."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from valor_ray.config.judging import Endpoint, JudgeConfig
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.runs.folder import save_settings

HOSTED = """\
judge:
  base_url: https://host/v1
  model: text
  api_key_env: HOST_KEY
  timeout_s: 7
  requests_per_minute: 600
  tokens_per_minute: 90000
  max_in_flight: 9
  price_in: 1
  price_out: 2
  max_cost_usd: 5
  answer_format: json_object
  extra: {reasoning_effort: minimal}
  headers: {X-Title: tests}
  others: [{base_url: "https://b/v1", model: b}]
  combine: vote
  noise: 0.2
  delay_s: 0.3
  retries: 1
  patience_s: 11
  first_in_flight: 3
  hedge: false
  replicas: 2
  max_replicas: 3
  cache_dir: /answers
  jpeg_quality: 80
  max_side: 512
"""
ASKED_ALIKE = {
    "retries", "patience_s", "first_in_flight", "hedge", "replicas", "max_replicas", "cache_dir",
    "jpeg_quality", "max_side"
}  # fmt: skip
ADDRESS = {"base_url", "api_key_env", "headers"}


@pytest.fixture
def hosted(tmp_path: Path) -> str:
    """A profile whose judge has a value of its own for every key."""
    path = tmp_path / "hosted.yaml"
    path.write_text(HOSTED)
    return str(path)


def inherited(config: Config) -> set[str]:
    """Keys of vlm that are as judge's, of those that judge has set."""
    return {key for key in JudgeConfig.model_fields if getattr(config.vlm, key) == getattr(config.judge, key)}


def refused(profile: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.load(profile, overrides)
    return str(caught.value)


def test_profile_of_these_tests_sets_every_key_to_no_default(hosted: str) -> None:
    judge = Config.load(hosted).judge
    assert judge.model_fields_set == set(JudgeConfig.model_fields)
    fields = JudgeConfig.model_fields.items()
    assert all(getattr(judge, key) != field.get_default(call_default_factory=True) for key, field in fields)


def test_vlm_unset_is_as_judge_and_one_gateway_serves_both(hosted: str) -> None:
    for config in (Config.load(), Config.load(hosted), Config.load(hosted, ["vlm=null"])):
        assert config.vlm == config.judge and config.vlm_part == "judge"


def test_a_key_of_vlm_tunes_it_and_all_else_stays_as_judge(hosted: str) -> None:
    config = Config.load(hosted, ["vlm.max_in_flight=8"])
    assert config.vlm == config.judge.model_copy(update={"max_in_flight": 8})
    assert config.vlm_part == "vlm" and config.judge.max_in_flight == 9
    assert Config.load("local", ["vlm.noise=0.1"]).judge.noise == 0


def test_naming_what_judge_has_changes_nothing(hosted: str) -> None:
    assert Config.load(hosted, ["vlm.base_url=https://host/v1", "vlm.model=text"]).vlm_part == "judge"
    assert Config.load("local", ["vlm.base_url=null"]).vlm_part == "judge"


def test_another_address_takes_only_how_endpoints_are_asked(hosted: str) -> None:
    config = Config.load(hosted, ["vlm.base_url=https://eyes/v1", "vlm.model=eyes"])
    assert inherited(config) == ASKED_ALIKE
    assert config.vlm.model_copy(update={"base_url": None}).model_dump(
        include=set(Endpoint.model_fields)
    ) == (Endpoint(model="eyes").model_dump())
    assert (config.vlm.others, config.vlm.combine, config.vlm.noise, config.vlm.delay_s) == (
        (),
        "share",
        0,
        0,
    )


def test_another_model_at_the_same_address_keeps_the_address_and_its_key(hosted: str) -> None:
    config = Config.load(hosted, ["vlm.model=eyes"])
    assert inherited(config) == ASKED_ALIKE | ADDRESS
    assert config.vlm.requests_per_minute is None and config.vlm.timeout_s == 60


def test_another_address_wants_a_model(hosted: str) -> None:
    assert "'vlm.model' is missing" in refused(hosted, "vlm.base_url=https://eyes/v1")
    assert "'vlm.model' is missing" in refused(hosted, "vlm.base_url=null")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["vlm.noise=0.1"],
        ["vlm.model=eyes"],
        ["vlm.base_url=https://eyes/v1", "vlm.model=eyes", "vlm.price_in=3"],
    ],
)
def test_saved_settings_load_to_the_same(hosted: str, tmp_path: Path, overrides: list[str]) -> None:
    for profile in ("local", "gpu", hosted):
        config = Config.load(profile, overrides)
        save_settings(tmp_path / "config.yaml", config)
        assert Config.load(str(tmp_path / "config.yaml")) == config
        assert pickle.loads(pickle.dumps(config)) == config


def test_what_vlm_has_from_judge_is_blamed_on_judge_once() -> None:
    said = refused("local", "judge.timeout_s=-1", "judge.modle=x", "vlm.noise=0.1")
    assert "vlm" not in said and said.count("timeout_s' (--set judge.timeout_s=-1)") == 1
    said = refused("local", "vlm.timeout_s=-1", "vlm.modle=x")
    assert "'vlm.timeout_s' (--set vlm.timeout_s=-1)" in said and "Nearest valid: vlm.model." in said
    both = refused("local", "judge.timeout_s=-1", "vlm.timeout_s=-2")
    assert "(--set judge.timeout_s=-1)" in both and "(--set vlm.timeout_s=-2)" in both
    assert "vlm" not in refused("local", "judge=3") and "vlm" not in refused("local", "judge=null")
    assert "judge" not in refused("local", "vlm=3").partition(" (")[0]


def test_a_part_of_a_list_is_told_with_where_the_list_was_set(hosted: str) -> None:
    said = refused(hosted, "judge.others=[{model: b, timeout_s: 0}]")
    assert said.count("\n") == 0 and "'judge.others.0.timeout_s' (--set judge.others=" in said


def test_extra_takes_json_and_neither_what_is_ours_nor_secrets() -> None:
    extra = Config.load(
        "local", ["judge.extra={reasoning_effort: minimal}", "judge.extra.top_k=3"]
    ).judge.extra
    assert extra == {"reasoning_effort": "minimal", "top_k": 3}
    for key in ("model", "messages", "response_format", "stream"):
        assert f"{key} is set by the gateway" in refused("local", f"vlm.extra.{key}=x")
    for key in ("api_key", "metadata.Authorization", "list=[{client_secret: hunter2}]#", "token"):
        said = refused("local", f"judge.extra.{key}=hunter2".partition("#")[0])
        assert "looks like a secret" in said and ", got" not in said
    assert Config.load("local", ["judge.extra.max_completion_tokens=9"]).judge.extra
    assert "JSON" in refused("local", "judge.extra.x=.nan") and "JSON" in refused(
        "local", "judge.extra.x=2026-11-01"
    )


def test_a_missing_key_names_the_section_that_is_meant(hosted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST_KEY", "EYES_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    config = Config.load(hosted, ["vlm.base_url=https://eyes/v1", "vlm.model=e", "vlm.api_key_env=EYES_KEY"])
    with pytest.raises(
        ConfigError, match=r"EYES_KEY \(named by vlm\.api_key_env\).*--set vlm\.api_key_env=NAME"
    ):
        config.vlm.check_keys(config.vlm_part)
    with pytest.raises(ConfigError, match=r"HOST_KEY \(named by judge\.api_key_env\)"):
        config.judge.check_keys("judge")
    monkeypatch.setenv("HOST_KEY", "k")
    with pytest.raises(
        ConfigError, match=r"named by judge\.others\[0\]\.api_key_env.*another variable there"
    ) as caught:
        config.judge.check_keys("judge")
    assert "--set" not in str(caught.value)
    Config.load("local").judge.check_keys("judge")  # the offline judge wants none


@pytest.mark.parametrize(
    "url", ["host/v1", "ftp://host/v1", "http://[x", "https:///v1", "http://host:99999/v1", "''"]
)
def test_an_address_that_nobody_can_be_asked_at_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError, match=r"judge\.base_url.*give it as https://host/v1"):
        Config.load("local", [f"judge.base_url={url}"])


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "HTTPS://me:pw@host/v1?api-version=1", "http://[::1]:8/v1"]
)
def test_an_address_is_taken_as_it_is(url: str) -> None:
    assert Config.load("local", [f"judge.base_url={url}"]).judge.base_url == url
