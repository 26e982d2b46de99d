"""Folders of LoRA adapters, in peft's format: the model they stand on, and whether they fit it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.errors import CheckpointError
from valor_ray.models.checkpoint import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    compare_keys,
    folder_tensors,
    read_json,
)

_NAME = re.compile(r"base_model\.model\.(.+)\.lora_[AB]\.weight")


@dataclass(frozen=True)
class Adapters:
    """What a folder of adapters says of itself."""

    base: str  # the model that they change, as a `model` setting names it
    rank: int


def read_adapters(folder: Path) -> Adapters | None:
    """None: the folder holds no adapters, or is none. Raises CheckpointError for a broken adapter_config.json."""
    path = folder / ADAPTER_CONFIG
    if not path.is_file():
        return None
    settings = read_json(path)
    base, rank = settings.get("base_model_name_or_path"), settings.get("r")
    if not isinstance(base, str) or not isinstance(rank, int):
        raise CheckpointError(
            f"{path} names no base_model_name_or_path, or no rank r. Is it of LoRA adapters? Copy the folder again."
        )
    return Adapters(base, rank)


def linear_layers(hf_config: Any) -> dict[str, tuple[int, int]]:
    """Name → (outputs, inputs) of what adapters may change in a model (transformers' configuration): every linear
    layer but the output head, as peft's all-linear."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(hf_config)
    head = model.get_output_embeddings()
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }


def check_adapters(folder: Path, hf_config: Any, most: int) -> None:
    """Whether the folder holds adapters of at most that rank for a running model. Reads headers only.

    Raises CheckpointError naming missing, unexpected or wrongly shaped tensors, or a cut file.
    """
    adapters = read_adapters(folder)
    if adapters is None:
        raise CheckpointError(
            f"{folder} holds no adapters ({ADAPTER_CONFIG} is missing), and this engine was started for adapters on "
            "a model that stays. Give a folder of adapters, or start an engine with that model."
        )
    if adapters.rank > most:
        raise CheckpointError(
            f"The adapters in {folder} have rank {adapters.rank}; the engine was started for {most}. Start it with "
            "those as its model, or publish adapters of its rank."
        )
    present, layers = folder_tensors(folder), linear_layers(hf_config)
    named = {found[1] for key in present if (found := _NAME.fullmatch(key))} & layers.keys()
    expected: dict[str, tuple[int, ...]] = {}
    for name in named or layers:
        out, into = layers[name]
        expected |= _pair(name, out, into, adapters.rank)
    compare_keys(
        folder, expected, present, "Publish adapters for the model that the engine was started with."
    )


def write_unchanging(folder: Path, hf_config: Any) -> None:
    """Adapters that change nothing: of one layer, of rank 1, all zero."""
    import torch
    from safetensors.torch import save_file

    name, (out, into) = next(iter(linear_layers(hf_config).items()))
    settings = {"r": 1, "lora_alpha": 1, "target_modules": [name.rpartition(".")[2]], "peft_type": "LORA"}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(settings | {"base_model_name_or_path": ""}))
    tensors = {key: torch.zeros(shape) for key, shape in _pair(name, out, into, 1).items()}
    save_file(tensors, folder / ADAPTER_WEIGHTS)


def _pair(layer: str, out: int, into: int, rank: int) -> dict[str, tuple[int, ...]]:
    at = f"base_model.model.{layer}"
    return {f"{at}.lora_A.weight": (rank, into), f"{at}.lora_B.weight": (out, rank)}
