"""The weights that the learner has made, written as the engine loads them: runs.weight_channel's Weights.

Of adapters (grpo.lora_rank) alone they are published, and a checkpoint's whole model is made beside the one that is
trained: merging in place would round small changes away in bfloat16, and unmerging leave the base another one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.distributed.tensor import DTensor

from valor_ray.models.checkpoint import ADAPTER_WEIGHTS
from valor_ray.models.vllm.transfer.room import Room

if TYPE_CHECKING:
    from trl.trainer.grpo_trainer import GRPOTrainer

# any other: as the learner has them
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_ADAPTER = "default"  # peft's name of the one that it makes


class LearnedWeights:
    """The weights of a trainer at the moment of `save`."""

    def __init__(self, trainer: GRPOTrainer, tokenizer: Any, dtype: str) -> None:
        """dtype: the engine's (policy.dtype)."""
        self._trainer, self._tokenizer, self._dtype = trainer, tokenizer, _DTYPES.get(dtype)

    def save(self, folder: Path) -> None:
        """What is published: adapters as they are trained, in peft's format; else the whole model."""
        model = self._model()
        if not _has_adapters(model):
            self.save_whole(folder)
        elif self._trainer.accelerator.is_main_process:
            _save_adapters(model, folder)

    def save_whole(self, folder: Path) -> None:
        """Hugging Face format with the tokenizer, adapters merged into a copy. Collective; the first process writes."""
        model, first = self._model(), self._trainer.accelerator.is_main_process
        if _has_adapters(model):
            state = self._merged(model) if first else {}
            model = model.get_base_model()
        else:
            state = self._gathered(model, first)
        if first:
            whole = _without_parts(model) if _in_parts(model) else model
            whole.save_pretrained(folder, state_dict=state)
            self._tokenizer.save_pretrained(folder)

    def parts(self) -> Parts:
        """Them one after another, as they are whenever it is gone through: for what sends them."""
        return Parts(self._model(), self._dtype)

    def _model(self) -> Any:
        return self._trainer.accelerator.unwrap_model(self._trainer.model)

    def _gathered(self, model: Any, keep: bool) -> dict[str, torch.Tensor]:
        """One tensor after another, cast where it is: no process ever holds the whole in float32."""
        state = {}
        for name, part in _untied(model):
            whole = part.full_tensor() if isinstance(part, DTensor) else part
            if keep:
                state[name] = whole.to(self._dtype or whole.dtype).cpu()
        return state

    @torch.no_grad()
    def _merged(self, model: Any) -> dict[str, torch.Tensor]:
        """One tensor after another, in float32 until its sum is made; what is trained is only read."""
        base = model.get_base_model()
        changed = {
            f"{name}.base_layer.weight": layer
            for name, layer in base.named_modules()
            if hasattr(layer, "get_delta_weight")
        }
        state = {}
        for name, value in _untied(base):
            if "lora_" in name:
                continue
            whole = value
            if name in changed:
                whole = value.float() + changed[name].get_delta_weight(_ADAPTER).float()
            state[name.replace(".base_layer.", ".")] = whole.to(self._dtype or value.dtype).cpu()
        return state


class ParameterMeta(NamedTuple):
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class Parts:
    """vLLM's WeightSource (vllm.distributed.weight_transfer) over a model, whole or sharded, without adapters.

    Iterating is collective where the model is sharded; a tensor that is tied to another comes once.
    """

    def __init__(self, model: Any, dtype: torch.dtype | None) -> None:
        """dtype: that they are sent in; None: as they are."""
        self._model, self._dtype = model, dtype
        self._room = Room()

    def metadata(self) -> list[ParameterMeta]:
        """What iterating gives, without gathering anything."""
        return [
            ParameterMeta(name, self._dtype or value.dtype, tuple(value.shape))
            for name, value in self._model.named_parameters()
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, value in self._model.named_parameters():
            part = value.detach()
            whole = part.full_tensor() if isinstance(part, DTensor) else part
            yield name, self._cast(whole)

    def _cast(self, whole: torch.Tensor) -> torch.Tensor:
        dtype = self._dtype or whole.dtype
        if whole.dtype == dtype or whole.device.type != "cpu":
            return whole.to(dtype).contiguous()
        return self._room.take(dtype, whole.shape).copy_(whole)


def _in_parts(model: Any) -> bool:
    return any(isinstance(value, DTensor) for value in model.parameters())


def _has_adapters(model: Any) -> bool:
    return hasattr(model, "peft_config")


def _save_adapters(model: Any, folder: Path) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    settings = copy.copy(model.peft_config[_ADAPTER])
    settings.inference_mode = True
    settings.save_pretrained(str(folder))
    state = get_peft_model_state_dict(model, adapter_name=_ADAPTER, save_embedding_layers=False)
    tensors = {name: value.contiguous().cpu() for name, value in state.items()}
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def _untied(model: Any) -> list[tuple[str, torch.Tensor]]:
    """Names and values of the weights, one that is tied to another left out."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    return [(name, value) for name, value in model.state_dict().items() if name not in tied]


def _without_parts(model: Any) -> Any:
    """A model of the same shape without weights, which saves as one that was never sharded."""
    config = copy.deepcopy(model.config)
    config.__dict__.pop("distributed_config", None)
    with torch.device("meta"):
        return type(model)._from_config(config)
