"""The learner's side of adapters: the base never changes, a whole model is made beside it, a killed run goes on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import tiny_run as tiny
import torch
import trained_adapters as trained
from peft import PeftModel

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.models.checkpoint import folder_tensors
from valor_ray.models.vllm.weights import read_weights
from valor_ray.reasoning.learner.learn import say_slow
from valor_ray.reasoning.learner.models import base_name, start_model
from valor_ray.records import Rollout

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_policy(tmp_path_factory.mktemp("policy"))


def base_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items() if "lora_" not in name}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_base_is_bit_for_bit_the_same_after_200_publications(dtype: torch.dtype, tmp_path: Path) -> None:
    model = trained.with_adapters(dtype)
    before, weights = base_of(model), trained.learned(model, "bfloat16")
    for number in range(200):
        with torch.no_grad():
            for name, value in model.named_parameters():
                if "lora_" in name:
                    value.add_(1e-4 * torch.randn_like(value))
        weights.save(tmp_path / "adapters")
        if number % 50 == 49:
            weights.save_whole(tmp_path / "whole")
    after = base_of(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {value.dtype for name, value in model.named_parameters() if "lora_" in name} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_published_adapters_on_the_base_are_the_learners_model(dtype: torch.dtype, tmp_path: Path) -> None:
    model = trained.with_adapters(dtype)
    sequences = [([5, 6, 7, 8], list(range(20, 60)))]
    trained.aim(model, sequences)
    trained.moved(model, 1e-3)
    folder = trained.save(model, tmp_path / "adapters")
    again = PeftModel.from_pretrained(copy.deepcopy(model).unload(), folder)
    with torch.no_grad():
        assert torch.equal(trained.logprobs(model, sequences), trained.logprobs(again, sequences))


@pytest.mark.parametrize("tied", [False, True])
def test_the_whole_model_is_summed_in_float32_and_rounded_once(tied: bool, tmp_path: Path) -> None:
    """Base in bfloat16, engine in each precision; against the sum by hand."""
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from valor_ray.reasoning.learner.learn import _lora

    start = tiny.write_policy(tmp_path / "start", tied=tied)
    base = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16)
    model = get_peft_model(copy.deepcopy(base), _lora(4))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=1e-3)
    layers = {name: module for name, module in model.get_base_model().named_modules()}
    for dtype in ("float32", "bfloat16"):
        trained.learned(model, dtype).save_whole(tmp_path / dtype)
        made = dict(read_weights(tmp_path / dtype))
        assert made.keys() == folder_tensors(start).keys()
        for name, value in made.items():
            layer = layers.get(name.removesuffix(".weight"))
            expected = base.state_dict()[name].float()
            if hasattr(layer, "lora_A"):
                up, down = layer.lora_B["default"].weight, layer.lora_A["default"].weight
                expected = expected + 2.0 * (up @ down)
            assert torch.equal(value, expected.to(getattr(torch, dtype))), name


def test_a_killed_run_of_adapters_goes_on_to_the_same_ones(policy: Path, tmp_path: Path) -> None:
    config = tiny.settings(policy, "grpo.steps=4", "grpo.lora_rank=4")
    whole = tiny.Hand()
    tiny.run_learner(config, tmp_path / "whole", whole)

    class Killed(Exception):
        pass

    def dies(step: int, rows: list[Rollout]) -> None:
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        tiny.run_learner(config, tmp_path / "cut", tiny.Hand(change=dies))
    hand = tiny.Hand()
    end, records = tiny.run_learner(config, tmp_path / "cut", hand)
    assert end.steps == 4 and [record["step"] for record in records] == [3, 4]
    assert min(hand.published) == 2  # the replicas get the checkpoint's adapters before anything is sampled
    assert tiny.difference(tiny.weights(tmp_path / "whole"), tiny.weights(tmp_path / "cut")) <= 1e-6
    assert tiny.difference(whole.models[4].state_dict(), hand.models[4].state_dict()) <= 1e-6


def test_a_checkpoint_is_itself_a_folder_of_adapters_that_engines_load(policy: Path, tmp_path: Path) -> None:
    hand = tiny.Hand()
    tiny.run_learner(tiny.settings(policy, "grpo.lora_rank=4"), tmp_path, hand)
    checkpoint = tmp_path / "checkpoints" / "step-000002"
    assert folder_tensors(checkpoint) == folder_tensors(hand.published[2])
    found = tiny.model_in(checkpoint).state_dict()
    assert tiny.difference(found, hand.models[2].state_dict()) == 0


def test_a_run_does_not_start_from_adapters(policy: Path, tmp_path: Path) -> None:
    folder = trained.save(trained.with_adapters(), tmp_path / "adapters")
    with pytest.raises(ConfigError, match=r"holds adapters.*`merged` folder"):
        start_model(str(folder))
    assert start_model(str(policy)) == str(policy)


def test_adapters_name_their_base_so_that_it_is_found_from_anywhere(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(policy.parent)
    assert base_name(policy.name) == str(policy)
    assert base_name("tabletop:policy") == "tabletop:policy"
    assert base_name("owner/name@v1") == "owner/name@v1"


def test_a_rate_that_is_small_for_adapters_is_said() -> None:
    said: list[str] = []
    for overrides in (["grpo.lora_rank=4"], ["grpo.learning_rate=1e-6"]):
        say_slow(Config.load("local", overrides).grpo, said.append)
    assert said == []
    say_slow(Config.load("local", ["grpo.lora_rank=4", "grpo.learning_rate=1e-6"]).grpo, said.append)
    assert len(said) == 1 and "grpo.learning_rate 1e-06 is small for adapters" in said[0]
