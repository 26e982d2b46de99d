"""A vLLM worker that lets tests look at what it holds: base weights, and the adapters on top of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from valor_ray.models.vllm.weights import WeightLoading

LOOKING = f"{__name__}.LookingWorker"


class LookingWorker(WeightLoading):
    """In place of WORKER_EXTENSION."""

    def base_digest(self) -> str:
        """Of every number of the base."""
        digest = hashlib.sha256()
        for name, value in self.model_runner.get_model().state_dict().items():
            if "lora_" not in name:
                digest.update(
                    name.encode() + value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
                )
        return digest.hexdigest()

    def adapters_held(self) -> list[int]:
        """How many adapters there are, how many are in use, and bytes of the room for them."""
        manager = self.model_runner.lora_manager._adapter_manager
        room = sum(
            part.numel() * part.element_size()
            for module in manager.modules.values()
            for part in (*module.lora_a_stacked, *module.lora_b_stacked)
        )
        return [len(manager._registered_adapters), len(manager._active_adapters), room]

    def likeness(self, folder: str, scaling: float) -> float:
        """Correlation of the change that is held, of all weights, with that of a folder in float32."""
        held, meant = [], []
        tensors = load_file(Path(folder) / "adapter_model.safetensors")
        manager = self.model_runner.lora_manager._adapter_manager
        for name, module in manager.modules.items():
            names = manager.packed_modules.get(name, [name])
            for part, a, b in zip(names, module.lora_a_stacked, module.lora_b_stacked, strict=True):
                down, up = (tensors[f"base_model.model.{part}.lora_{side}.weight"] for side in "AB")
                held.append((b[0, 0].float() @ a[0, 0].float()).flatten())
                meant.append((scaling * up @ down).flatten())
        return correlation(torch.cat(held), torch.cat(meant))


def correlation(one: Any, other: Any) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])
