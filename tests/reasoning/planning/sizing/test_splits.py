"""Which split of GPUs wins, and what is refused with what would fit."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.placement.nodes import nodes_of
from valor_ray.placement.training import placement
from valor_ray.reasoning.learner.learn import check_shape
from valor_ray.reasoning.planning.memory import read_shape, shape_of
from valor_ray.reasoning.planning.sizing.constants import FILE, read_constants
from valor_ray.reasoning.planning.sizing.splits import plan_gpus, step_seconds

KNOWN = read_constants("h100")
LORA = ("grpo.fsdp=false", "grpo.lora_rank=16", "grpo.learning_rate=1e-5")


def gpu(*overrides: str) -> Config:
    return Config.load("gpu", overrides)


@pytest.mark.parametrize("gpus", [8, 64, 512])
def test_a_split_uses_no_more_than_there_is_and_its_settings_are_taken(gpus: int) -> None:
    planned = plan_gpus(gpu(), gpus, KNOWN)
    split = planned["split"]
    assert split["learner_gpus"] + split["policy_gpus"] + split["idle_gpus"] == gpus
    assert split["idle_gpus"] >= 0 and split["policy_replicas"] >= 1
    check_shape(gpu(*planned["settings"]).grpo)
    assert (
        planned["seconds_per_step"]
        <= min(each["seconds_per_step"] for each in planned["alternatives"]) * 1.02
    )
    assert all(0 < share <= 1 for share in planned["utilisation"].values())
    assert len(planned["assumptions"]) == 16 and all(each["source"] for each in planned["assumptions"])


@pytest.mark.parametrize(
    "words",
    [(), LORA, (*LORA, "policy.num_gpus=2"), ("policy.num_gpus=3",), ("policy.num_gpus=0.5",)],
)
@pytest.mark.parametrize("gpus", [1, 2, 4, 8, 16, 32, 64, 512])
def test_a_split_finds_its_places_on_the_nodes_that_it_assumes(gpus: int, words: tuple[str, ...]) -> None:
    try:
        planned = plan_gpus(gpu(*words), gpus, KNOWN)
    except ConfigError as refused:  # then what it names as the fewest is placed
        fewest = re.search(r"The fewest that do: (\d+)", str(refused))
        if fewest is None:
            pytest.fail(str(refused))
        assert int(fewest[1]) > gpus
        gpus = int(fewest[1])
        planned = plan_gpus(gpu(*words), gpus, KNOWN)
    places = placement(gpu(*words, *planned["settings"]), nodes_of(gpus))
    split = planned["split"]
    assert sum(name.startswith("policy") for name in places) == split["policy_replicas"]
    assert sum(name.startswith("learner") for name in places) == split["learner_processes"]
    for other in planned["alternatives"]:
        sizes = (f"grpo.workers={other['learner_processes']}", f"policy.replicas={other['policy_replicas']}")
        placement(gpu(*words, *sizes), nodes_of(gpus))


def test_eight_gpus_leave_none_idle() -> None:
    assert plan_gpus(gpu(), 8, KNOWN)["split"]["idle_gpus"] == 0


def test_more_gpus_never_make_a_step_longer() -> None:
    seconds = [
        plan_gpus(gpu(), gpus, KNOWN)["seconds_per_step"] for gpus in (5, 6, 8, 12, 16, 32, 64, 128, 512)
    ]
    assert all(later <= 1.02 * before for before, later in pairwise(seconds))


def test_larger_steps_use_more_of_many_gpus() -> None:
    little, much = (plan_gpus(gpu(f"grpo.prompts={n}"), 64, KNOWN) for n in (64, 512))
    assert much["utilisation"]["all"] > 2 * little["utilisation"]["all"]


def test_what_does_not_fit_is_refused_with_the_number_that_does() -> None:
    with pytest.raises(ConfigError, match=r"The fewest that do: 5\..*adapters\): 2\."):
        plan_gpus(gpu(), 4, KNOWN)
    assert plan_gpus(gpu(), 5, KNOWN)["split"]["learner_processes"] == 4
    assert plan_gpus(gpu(*LORA), 2, KNOWN)["split"] == {
        "learner_processes": 1, "policy_replicas": 1, "learner_gpus": 1.0, "policy_gpus": 1.0,
        "evaluation_gpus": 0.75, "idle_gpus": 0.0,
    }  # fmt: skip


def test_a_card_that_holds_no_engine_is_refused_with_what_would_help() -> None:
    with pytest.raises(ConfigError, match=r"--set policy\.num_gpus=2"):
        plan_gpus(gpu("policy.num_gpus=0.5"), 64, read_constants("l4"))


def test_settings_without_gpus_and_replies_that_are_too_long_are_refused() -> None:
    with pytest.raises(ConfigError, match="--profile gpu"):
        plan_gpus(Config.load("local"), 8, KNOWN)
    with pytest.raises(ConfigError, match=r"grpo\.max_tokens=9000"):
        plan_gpus(gpu(), 8, KNOWN, reply_tokens=9000)


def test_evaluations_models_count_where_they_are_larger_than_the_learner() -> None:
    with pytest.raises(ConfigError, match="The fewest that do: 4"):
        plan_gpus(gpu(*LORA, "detector.num_gpus=1", "depth.num_gpus=2"), 3, KNOWN)
    assert plan_gpus(gpu(*LORA, "depth.num_gpus=2", "grpo.eval_questions=0"), 2, KNOWN)["gpus"] == 2


def test_the_shape_in_the_file_is_that_of_the_model() -> None:
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    config = Qwen3Config(
        vocab_size=151936, hidden_size=4096, intermediate_size=12288, num_hidden_layers=36, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device("meta"):
        assert shape_of(AutoModelForCausalLM.from_config(config)) == KNOWN.shape("Qwen/Qwen3-8B@main")


def test_a_model_that_lies_here_is_read_and_another_is_asked_for() -> None:
    assert KNOWN.shape("tabletop:policy") == read_shape("tabletop:policy")
    with pytest.raises(ConfigError, match="hf download"):
        KNOWN.shape("nobody/nothing")


def test_constants_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(FILE.read_text().replace("transfer_gb_s: { value: 8", "transfer_gb_s: { value: 4"))
    assert read_constants("h100", own).constants.transfer_gb_s == 4
    own.write_text("cards: {}\nconstants: {}\n")
    with pytest.raises(ConfigError, match="Copy that"):
        read_constants("h100", own)
    with pytest.raises(ConfigError, match="known are h100"):
        read_constants("b200")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_constants("h100", tmp_path / "none.yaml")


def test_a_dry_run_is_told_the_seconds_of_the_planned_split() -> None:
    planned = plan_gpus(gpu(), 8, KNOWN)
    told = step_seconds(gpu(*planned["settings"]))
    assert told["seconds_per_step"] == planned["seconds_per_step"] and "h100" in told["step_assumes"]
    assert step_seconds(Config.load("local"))["seconds_per_step"] is None
    assert step_seconds(gpu("policy.model=nobody/nothing"))["seconds_per_step"] is None
