"""Checks a Hugging Face checkpoint folder before an engine loads it, so that a broken one is named."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from valor_ray.errors import CheckpointError

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # peft's files
_SHOWN = 4  # keys named in a message


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file of a checkpoint. Raises CheckpointError."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing. A checkpoint folder needs it; copy the folder again."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}). Copy the folder again.") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} should hold a JSON object. Copy the folder again.")
    return data


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    """Name → shape of the tensors in one safetensors file. Raises CheckpointError when it is absent or cut short."""
    if not path.is_file():
        raise CheckpointError(
            f"Shard {path.name} is missing from {path.parent}. Copy the folder again, shards included."
        )
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= min(size - 8, 100_000_000):
            raise CheckpointError(f"{path} is not a safetensors file or is cut short. Copy it again.")
        entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    if 8 + length + end != size:
        raise CheckpointError(
            f"{path} is cut short: {size} bytes, its header promises {8 + length + end}. Copy it again."
        )
    return {name: tuple(entry["shape"]) for name, entry in entries.items()}


def folder_tensors(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name → shape of every tensor in a checkpoint folder, or one of adapters. Raises CheckpointError naming the file
    at fault."""
    if (folder / ADAPTER_CONFIG).exists():
        read_json(folder / ADAPTER_CONFIG)
        return _header(folder / ADAPTER_WEIGHTS)
    read_json(folder / "config.json")
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return _header(folder / "model.safetensors")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index} has no weight_map. Copy the folder again.")
    tensors: dict[str, tuple[int, ...]] = {}
    for shard in sorted(set(weight_map.values())):
        tensors |= _header(folder / shard)
    return tensors


def compare_keys(
    where: Path | str,
    expected: Mapping[str, tuple[int, ...]],
    present: Mapping[str, tuple[int, ...]],
    remedy: str = "Use the config.json that belongs to these weights.",
) -> None:
    """Raises CheckpointError naming tensors that are missing, unexpected or of another shape."""
    problems = []
    for word, names in (
        ("missing", sorted(expected.keys() - present.keys())),
        ("unexpected", sorted(present.keys() - expected.keys())),
        (
            "of another shape",
            sorted(n for n in expected.keys() & present.keys() if expected[n] != present[n]),
        ),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            problems.append(f"{len(names)} {word}: {', '.join(names[:_SHOWN])}{more}")
    if problems:
        raise CheckpointError(
            f"The weights in {where} do not fit the model its config describes ({'; '.join(problems)}). {remedy}"
        )


def check_language_model(folder: Path) -> None:
    """Raises CheckpointError unless the folder holds a complete causal language model with its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    present = folder_tensors(folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise CheckpointError(f"{folder} has no tokenizer (tokenizer.json). Copy the folder again.")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for tied in getattr(model, "all_tied_weights_keys", None) or {}:
        if tied not in present:
            expected.pop(tied, None)
    compare_keys(folder, expected, present)
