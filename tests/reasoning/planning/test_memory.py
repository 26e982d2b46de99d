"""What a run takes, in closed form: against the paper's model, torch's own tracker, and files that were written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import trained_adapters as trained
from transformers import Qwen3Config, Qwen3ForCausalLM

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.models.checkpoint import ADAPTER_WEIGHTS
from valor_ray.reasoning.planning.memory import (
    GIB,
    Shape,
    activation_bytes,
    adapters,
    check_fits,
    checkpoint_bytes,
    disk_bytes,
    engine_bytes,
    learner_bytes,
    memory_plan,
    publication_bytes,
    shape_of,
)

QWEN3_8B = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
}  # fmt: skip


def shape(**settings: Any) -> Shape:
    with torch.device("meta"):
        return shape_of(Qwen3ForCausalLM(Qwen3Config(**settings)))


def gpu(*overrides: str) -> Config:
    return Config.load("gpu", list(overrides))


def test_the_papers_model_has_its_parameters() -> None:
    made = shape(**QWEN3_8B)
    assert made.parameters == 8_190_735_360 and made.layers == 36
    assert made.head == 151936 * 4096 and made.root == 2 * made.head + 4096
    assert (made.queries, made.keys) == (4096, 1024)


def test_each_process_has_its_share() -> None:
    made = shape(**QWEN3_8B)
    four, two = (learner_bytes(made, gpu(f"grpo.workers={n}")) for n in (4, 2))
    assert (four.weights, four.gradients) == (made.parameters, made.parameters)
    assert (four.optimizer, four.reference) == (2 * made.parameters, made.parameters // 2)
    assert (two.weights, two.activations) == (2 * four.weights, four.activations)
    assert learner_bytes(made, gpu("grpo.kl=0")).reference == 0
    whole = learner_bytes(made, gpu("grpo.workers=1"))  # fsdp alone has nothing to share with
    assert whole.weights == 4 * made.parameters and whole.total > 130 * GIB


def test_an_average_of_the_weights_takes_as_much_as_they_do() -> None:
    made, with_average = shape(**QWEN3_8B), gpu("grpo.workers=1", "grpo.fsdp=false", "grpo.ema=0.9")
    without = gpu("grpo.workers=1", "grpo.fsdp=false")
    assert learner_bytes(made, with_average).average == 4 * made.parameters
    assert learner_bytes(made, without).average == 0
    assert checkpoint_bytes(made, with_average) - checkpoint_bytes(made, without) == 4 * made.parameters


def test_adapters_are_small_and_need_no_reference() -> None:
    made = shape(**QWEN3_8B)
    lora = learner_bytes(made, gpu("grpo.fsdp=false", "grpo.lora_rank=16", "grpo.workers=1"))
    assert adapters(made, 16) == 43_646_976
    assert lora.reference == 0 and lora.optimizer == 8 * 43_646_976
    assert lora.weights == 2 * made.parameters + 4 * 43_646_976
    config = gpu("grpo.fsdp=false", "grpo.lora_rank=16", "grpo.steps=10")
    assert checkpoint_bytes(made, config) == 12 * 43_646_976
    assert publication_bytes(made, config) == 4 * 43_646_976
    assert engine_bytes(made, config)["weights"] == 2 * (made.parameters + 43_646_976)
    # one whole model, at the end, and not one for each checkpoint or publication
    assert 2 * made.parameters < disk_bytes(made, config, 10) < 3 * made.parameters


def test_published_adapters_have_the_size_that_was_said(tmp_path: Path) -> None:
    saved = trained.save(trained.with_adapters(), tmp_path / "adapters") / ADAPTER_WEIGHTS
    said = publication_bytes(
        shape_of(Qwen3ForCausalLM.from_pretrained(trained.SHIPPED)),
        Config.load("local", [f"grpo.lora_rank={trained.RANK}"]),
    )
    assert said < saved.stat().st_size < said + 20_000  # the file's header


def test_activations_are_of_the_budget_of_tokens_or_of_the_longest_row() -> None:
    made = shape(**QWEN3_8B)
    rows = [
        learner_bytes(made, gpu("grpo.micro_batch_tokens=null", f"grpo.micro_batch={count}")).activations
        for count in (1, 4)
    ]
    tokens = [
        learner_bytes(made, gpu(f"grpo.micro_batch_tokens={count}")).activations for count in (10, 18_000)
    ]
    assert rows == tokens  # the longest: 2500 + 2000


def test_what_cannot_fit_is_refused_with_what_helps() -> None:
    made = shape(**QWEN3_8B)
    check_fits(learner_bytes(made, gpu()), gpu())
    for overrides, advice in (
        (("grpo.workers=1",), "more processes"),
        (("grpo.workers=2",), "grpo.workers is 2"),
        (("grpo.micro_batch_tokens=null", "grpo.micro_batch=64"), r"grpo\.micro_batch=32"),
        (("grpo.micro_batch_tokens=288000",), r"grpo\.micro_batch_tokens=144000"),
        (
            ("grpo.gradient_checkpointing=false",),
            r"grpo\.micro_batch_tokens=9000|gradient_checkpointing=true",
        ),
        (("grpo.fsdp=false", "grpo.workers=1"), r"grpo\.lora_rank=16"),
    ):
        config = gpu(*overrides)
        with pytest.raises(ConfigError, match=rf"needs about .*grpo\.gpu_gib is 79.*{advice}"):
            check_fits(learner_bytes(made, config), config)
    unknown = gpu("grpo.workers=1", "grpo.gpu_gib=null")
    check_fits(learner_bytes(made, unknown), unknown)


@pytest.mark.parametrize("model", ["nobody/has-this", "nobody/has-this@v1"])
def test_a_model_that_is_not_here_has_no_figures(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_args: Any, **_more: Any) -> Any:
        raise AssertionError("asked the hub")

    monkeypatch.setattr("httpx.Client.send", fetch)
    plan = memory_plan(gpu(f"policy.model={model}"), 10)
    assert plan == dict.fromkeys(("memory_gib", "disk_gib", "publication_gib", "checkpoint_gib"))


def test_the_local_run_is_told_too() -> None:
    plan = memory_plan(Config.load("local"), 80)
    assert 0 < plan["publication_gib"] < plan["checkpoint_gib"] < plan["disk_gib"] < 1
    learner = plan["memory_gib"]["learner"]
    assert learner["total"] == pytest.approx(sum(v for k, v in learner.items() if k != "total"), abs=0.06)


SMALL = {
    "vocab_size": 2048,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
SHAPES = [
    SMALL | {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "head_dim": 32},
    SMALL | {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 3, "head_dim": 64},
    SMALL | {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 12, "head_dim": 16},
]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("settings", "checkpointing"),
    [(SHAPES[0], True), (SHAPES[1], False), (SHAPES[2], True)],
)
def test_each_category_is_near_what_torch_tracks(settings: dict[str, Any], checkpointing: bool) -> None:
    """Four pretended processes, real tensors, bfloat16 forward passes."""
    micro, tokens, world = 4, 256, 4
    tie = {"tie_word_embeddings": False}
    asked = {
        "shape": settings | tie, "world": world, "micro": micro, "tokens": tokens, "bf16": True,
        "checkpointing": checkpointing,
    }  # fmt: skip
    script = Path(__file__).parents[2] / "support" / "tracked_memory.py"
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(asked)],
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    )
    tracked = json.loads(done.stdout.splitlines()[-1])
    made = shape(**settings, **tie)
    config = gpu(
        f"grpo.workers={world}", f"grpo.micro_batch={micro}", "grpo.micro_batch_tokens=null", "grpo.kl=0"
    )
    planned = learner_bytes(made, config)
    peak = tracked["peak"]
    assert peak["Sharded Param"] == pytest.approx(planned.weights, rel=0.15)
    assert peak["OptState"] == pytest.approx(planned.optimizer, rel=0.15)
    assert tracked["after_backward"]["Sharded Grad"] == pytest.approx(planned.gradients, rel=0.15)
    assert peak["Activation"] == pytest.approx(
        activation_bytes(made, micro * tokens, 2, checkpointing), rel=0.15
    )


@pytest.mark.parametrize("profile", ["gpu", "gpu-1x80", "gpu-2", "gpu-4x8"])
def test_the_profiles_hold_what_they_are_for(profile: str) -> None:
    config = Config.load(profile, [])
    learner = learner_bytes(shape(**QWEN3_8B), config)
    check_fits(learner, config)
    assert (
        config.grpo.gpu_gib is not None and learner.total > 0.3 * config.grpo.gpu_gib * GIB
    )  # nor much larger


def test_a_small_card_answers_and_does_not_train() -> None:
    config = Config.load("gpu-1x24", [])
    with pytest.raises(ConfigError, match="learner process needs about"):
        check_fits(learner_bytes(shape(**QWEN3_8B), config), config)
    weights = engine_bytes(shape(**QWEN3_8B), config)["weights"]
    share = config.policy.gpu_memory_utilization
    assert weights is not None and share is not None and weights + 2 * GIB < share * 24 * GIB
