"""LoRA adapters in a vLLM engine: one place for them, which each version takes over; the base's weights never change.

A version replaces the one before in place (vLLM's `load_inplace`) and keeps its number: so requests in work go on with
the new one, as with whole weights, the engine never reads a folder again, and its memory stays as it is. The place is
never empty: what is served before any adapters are loaded has some that change nothing, and so no request is without.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for


def adapter_arguments(rank: int, layers: Iterable[str]) -> dict[str, Any]:
    """For AsyncEngineArgs: room for adapters of so high a rank on these layers of a model. Raises ConfigError."""
    room = next((most for most in _RANKS if most >= rank), None)
    if room is None:
        raise ConfigError(
            f"Adapters of rank {rank} cannot be served, at most {_RANKS[-1]}. Give the `merged` folder of a checkpoint "
            "of the run that trained them."
        )
    return {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": room,
        # all but the output head: with room for adapters there, vLLM on CPU cannot score prompts
        "lora_target_modules": sorted({name.rpartition(".")[2] for name in layers}),
    }


def adapter_request(folder: Path, *, load: bool = False) -> Any:
    """vLLM's LoRARequest for the one place. load: into it; else what each request carries, which loads nothing."""
    from vllm.lora.request import LoRARequest

    return LoRARequest("policy", 1, str(folder), load_inplace=load)
