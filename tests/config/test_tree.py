"""Settings: profiles, overrides, and what a wrong one is told."""

import pickle

import numpy as np
import pytest

from valor_ray.config import models as settings
from valor_ray.config.files import profile_names
from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config, described_keys
from valor_ray.errors import ConfigError


def refused(profile: str = "local", *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.load(profile, overrides)
    return str(caught.value)


def test_shipped_profiles_load_and_local_uses_only_shipped_models_and_the_offline_judge() -> None:
    assert profile_names() == ["gpu", "gpu-1x24", "gpu-1x80", "gpu-2", "gpu-4x8", "hosted", "local"]
    local = Config.load("local")
    for part in ("policy", "detector", "depth"):
        assert getattr(local, part).model.startswith("tabletop:") and part in getattr(local, part).model
    assert local.judge.base_url is None
    assert local.images.url_schemes == ()
    assert local.server.host == "127.0.0.1"


@pytest.mark.parametrize("profile", profile_names())
def test_a_program_waits_for_one_answer_longer_than_its_judge_tries(profile: str) -> None:
    config = Config.load(profile)
    assert config.sandbox.tool_seconds > config.vlm.timeout_s * (config.vlm.retries + 1)


def test_gpu_profile_has_the_papers_models_and_sampling() -> None:
    gpu = Config.load("gpu")
    assert (gpu.policy.model, gpu.policy.dtype) == ("Qwen/Qwen3-8B", "bfloat16")
    assert gpu.detector.model == "IDEA-Research/grounding-dino-tiny"
    assert gpu.depth.model == "Ruicheng/moge-2-vitl-normal"
    google = "https://generativelanguage.googleapis.com/v1beta/openai/"
    assert (gpu.judge.model, gpu.judge.base_url) == ("gemini-2.5-flash", google)
    assert (gpu.vlm.model, gpu.vlm.base_url) == ("gpt-5-mini", "https://api.openai.com/v1")
    assert (gpu.judge.api_key_env, gpu.vlm.api_key_env) == ("GEMINI_API_KEY", "OPENAI_API_KEY")
    assert gpu.judge.price_out > gpu.judge.price_in > 0 and gpu.vlm.price_out > gpu.vlm.price_in > 0
    assert gpu.judge.requests_per_minute is gpu.vlm.requests_per_minute is None
    assert (gpu.policy.temperature, gpu.policy.top_p, gpu.policy.top_k, gpu.policy.min_p) == (0.7, 0.8, 20, 0)
    assert (gpu.detector.box_threshold, gpu.detector.text_threshold) == (0.35, 0.25)
    assert not gpu.policy.thinking


def test_every_setting_is_described() -> None:
    assert all(description for _, description in described_keys())


def test_settings_are_frozen_and_can_be_sent_to_workers() -> None:
    config = Config.load()
    with pytest.raises(ValueError, match="frozen"):
        config.policy.temperature = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == config


def test_later_overrides_win_and_values_are_yaml() -> None:
    config = Config.load(
        "local",
        [
            "policy.temperature=0.5",
            "policy.temperature=0",
            "images.url_schemes=[https]",
            "detector.image_side=null",
        ],
    )
    assert config.policy.temperature == 0
    assert config.images.url_schemes == ("https",)
    assert config.detector.image_side is None


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("policy.modle=x", "policy.model"),
        ("polcy.temperature=1", "policy.temperature"),
        ("policy.temprature=1", "policy.temperature"),
        ("sandbox.wall_second=1", "sandbox.wall_seconds"),
        ("box_threshold=0.3", "detector.box_threshold"),
    ],
)
def test_unknown_key_names_the_nearest_valid_one_and_where_it_was_set(override: str, nearest: str) -> None:
    message = refused("local", override)
    assert f"Nearest valid: {nearest}." in message
    assert f"--set {override}" in message


def test_each_wrong_value_is_named() -> None:
    message = refused("local", "policy.temperature=hot", "server.port=0")
    assert "'policy.temperature' (--set policy.temperature=hot)" in message
    assert "'server.port' (--set server.port=0)" in message


@pytest.mark.parametrize("override", ["policy", "=1", "policy..model=1", "policy.model=[", "policy=3"])
def test_malformed_overrides_are_refused(override: str) -> None:
    assert override.split("=")[0] in refused("local", override)


def test_unknown_profile_names_the_valid_ones() -> None:
    message = refused("locl")
    assert "Did you mean 'local'?" in message
    assert "gpu-4x8, hosted, local" in message


def test_profile_file_holds_only_the_differences(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: gpu\npolicy:\n  model: glab-caltech/VALOR-8B\n")
    config = Config.load(str(file))
    assert config.policy.model == "glab-caltech/VALOR-8B"
    assert config.policy.max_model_len == Config.load("gpu").policy.max_model_len
    file.write_text("")
    assert Config.load(str(file)) == Config.load("local")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- a list\n", "must hold sections"),
        ("policy: {model: [", "Cannot read the profile"),
        ("base: cloud\n", "'cloud' is not a profile"),
        ("polcy:\n  model: x\n", "Nearest valid: policy.model"),
    ],
)
def test_bad_profile_files_are_refused_by_name(tmp_path, content: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    message = refused(str(file))
    assert said in message
    assert "mine.yaml" in message


def test_api_key_comes_from_the_named_variable_and_is_not_in_the_settings(monkeypatch) -> None:
    config = Config.load("gpu")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert config.vlm.api_key("vlm") == "sk-secret"
    assert "sk-secret" not in repr(config)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY \(named by vlm\.api_key_env\)"):
        config.vlm.api_key("vlm")


def test_server_is_open_unless_a_token_variable_is_named(monkeypatch) -> None:
    assert Config.load().server.token() is None
    guarded = Config.load("local", ["server.token_env=MY_TOKEN"])
    monkeypatch.delenv("MY_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="MY_TOKEN"):
        guarded.server.token()
    monkeypatch.setenv("MY_TOKEN", "t")
    assert guarded.server.token() == "t"


def test_models_resolve_to_shipped_checkpoints_paths_or_hub_ids(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(settings, "CHECKPOINTS", tmp_path)
    (tmp_path / "policy").mkdir()
    assert resolve_model("tabletop:policy") == str(tmp_path / "policy")
    assert resolve_model(str(tmp_path)) == str(tmp_path)
    assert resolve_model("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    with pytest.raises(ConfigError, match="Shipped: tabletop:policy"):
        resolve_model("tabletop:polizy")
    for missing in ("./nowhere", "weights.pth"):
        with pytest.raises(ConfigError, match="not found"):
            resolve_model(missing)


def test_learner_gets_a_seed_that_numpy_takes_from_a_seed_of_any_size() -> None:
    for seed, taken in ((0, 0), (49, 49), (2**32 - 1, 2**32 - 1), (2**32 + 7, 7)):
        assert Config.load("local", [f"grpo.seed={seed}"]).grpo.learner_seed == taken
        np.random.RandomState(taken)
    with pytest.raises(ValueError, match="2\\*\\*32"):
        np.random.RandomState(2**32)


WRITER = ("policy.endpoint.base_url=http://x/v1", "policy.endpoint.model=m")


def test_a_writer_behind_an_endpoint_takes_no_gpu_whatever_the_profile_gives_the_engine() -> None:
    config = Config.load("gpu", WRITER)
    assert (config.policy.num_gpus, config.policy.writer) == (0, "m")
    assert (
        Config.load("gpu").policy.num_gpus == 1 and Config.load().policy.writer == Config.load().policy.model
    )


def test_hosted_wants_one_key_and_no_gpu() -> None:
    hosted = Config.load("hosted")
    assert hosted.policy.endpoint is not None and not hosted.wants_gpus and hosted.vlm_part == "judge"
    assert {hosted.policy.endpoint.api_key_env, hosted.vlm.api_key_env} == {"OPENAI_API_KEY"}
    assert hosted.policy.endpoint.price_out > hosted.policy.endpoint.price_in > 0
    assert hosted.detector.model == "IDEA-Research/grounding-dino-tiny" and "vits" in hosted.depth.model


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("base_url=null", "base_url is missing: the address of the model that writes"),
        ("extra={seed: 3}", "extra.seed would make all samples one"),
        ("extra={n: 3}", "n is set by the gateway"),
        ("max_cost_usd=1", "max_cost_usd wants price_in and price_out"),
        ("answer_format=prompt", "answer_format is for judges"),
        ("modle=m", "Nearest valid: policy.endpoint.model"),
    ],
)
def test_a_wrong_setting_of_a_writer_is_named(setting: str, words: str) -> None:
    assert words in refused("local", *WRITER, f"policy.endpoint.{setting}")
