"""Adapters as a learner makes them, of any size: on the shipped policy, along the gradient of a reward of tokens."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from valor_ray.config.models import CHECKPOINTS
from valor_ray.reasoning.learner.learn import _lora
from valor_ray.reasoning.learner.learned_weights import LearnedWeights

RANK = 16
SCALING = 2.0  # lora_alpha / r
SHIPPED = CHECKPOINTS / "policy"

Sequences = Sequence[tuple[Sequence[int], Sequence[int]]]  # (prompt, completion) token ids


def with_adapters(dtype: torch.dtype = torch.float32, base: str = "tabletop:policy") -> Any:
    """The shipped policy under fresh adapters, which change nothing."""
    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(SHIPPED, dtype=dtype), _lora(RANK))
    model.peft_config["default"].base_model_name_or_path = base
    return model


def learned(model: Any, dtype: str = "float32") -> LearnedWeights:
    """What a trainer of the model would publish."""
    accelerator = SimpleNamespace(is_main_process=True, unwrap_model=lambda wrapped: wrapped)
    tokenizer = SimpleNamespace(save_pretrained=lambda folder: None)
    return LearnedWeights(SimpleNamespace(accelerator=accelerator, model=model), tokenizer, dtype)


def aim(model: Any, sequences: Sequences) -> None:
    """Gradients of every B, of a reward that some replies have and others not."""
    torch.manual_seed(1)
    total = sum(
        (logprobs(model, [pair]).sum() * float(torch.randn(())) for pair in sequences), torch.zeros(())
    )
    total.backward()


def moved(model: Any, size: float) -> Any:
    """Every B as AdamW's first step of the rate `size` makes it."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.copy_(size * value.grad.sign())
    return model


def logprobs(model: Any, sequences: Sequences) -> torch.Tensor:
    """At temperature 1, of all completion tokens."""
    parts = []
    for prompt, tokens in sequences:
        logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1].float()
        parts.append(logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0])
    return torch.cat(parts)


@torch.no_grad()
def short_change(model: Any, sequences: Sequences) -> torch.Tensor:
    """What the adapters change of log-probabilities where the learner works in bfloat16, its base frozen in that."""
    model = copy.deepcopy(model)
    for name, value in model.named_parameters():
        if "lora_" not in name:
            value.data = value.data.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        after = logprobs(model, sequences)
        with model.disable_adapter():
            return after - logprobs(model, sequences)


def merged_in_place(model: Any) -> tuple[Any, Any]:
    """The base in bfloat16, and with the adapters merged into that, as the learner once published them."""
    base = copy.deepcopy(model).unload().to(torch.bfloat16)
    merged = copy.deepcopy(model)
    for name, value in merged.named_parameters():
        if "lora_" not in name:
            value.data = value.data.to(torch.bfloat16)
    return base, merged.merge_and_unload()


def change_of(base: Any, other: Any) -> torch.Tensor:
    """Of all linear weights, one after another."""
    state = other.state_dict()
    return torch.cat(
        [
            (state[name].float() - value.float()).flatten()
            for name, value in base.state_dict().items()
            if "proj" in name
        ]
    )


def meant_change(model: Any) -> torch.Tensor:
    """In float32, in the same order."""
    base = model.get_base_model()
    return torch.cat(
        [
            layer.get_delta_weight("default").flatten()
            for _, layer in base.named_modules()
            if hasattr(layer, "get_delta_weight")
        ]
    )


def save(model: Any, folder: Path) -> Path:
    learned(model).save(folder)
    return folder
