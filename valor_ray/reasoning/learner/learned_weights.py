"""The weights that the learner has made, written as the engine loads them: runs.weight_channel's Weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.distributed.tensor import DTensor

from valor_ray.models.vllm.room import Room

if TYPE_CHECKING:
    from trl.trainer.grpo_trainer import GRPOTrainer

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}  # any other: as they are trained


class LearnedWeights:
    """The weights of a trainer at the moment of `save`."""

    def __init__(self, trainer: GRPOTrainer, tokenizer: Any, dtype: str) -> None:
        """dtype: the engine's (policy.dtype)."""
        self._trainer, self._tokenizer, self._dtype = trainer, tokenizer, _DTYPES.get(dtype)

    def save(self, folder: Path) -> None:
        """Hugging Face format with the tokenizer; adapters are merged. Collective; the first process writes."""
        accelerator = self._trainer.accelerator
        model = accelerator.unwrap_model(self._trainer.model)
        gathered = self._gathered(model, accelerator.is_main_process) if _in_parts(model) else None
        if not accelerator.is_main_process:
            return
        if gathered is not None:
            _whole(model).save_pretrained(folder, state_dict=gathered)
        elif hasattr(model, "merge_adapter"):
            self._save_merged(model, folder)
        else:
            model.save_pretrained(folder, state_dict=self._as_engine(model.state_dict()))
        self._tokenizer.save_pretrained(folder)

    def parts(self) -> Parts:
        """Them one after another, as they are whenever it is gone through: for what sends them."""
        return Parts(self._trainer.accelerator.unwrap_model(self._trainer.model), self._dtype)

    def _gathered(self, model: Any, keep: bool) -> dict[str, torch.Tensor]:
        """One tensor after another, cast where it is: no process ever holds the whole in float32."""
        tied = getattr(model, "all_tied_weights_keys", None) or {}
        state = {}
        for name, part in model.state_dict().items():
            if name in tied:
                continue
            whole = part.full_tensor() if isinstance(part, DTensor) else part
            if keep:
                state[name] = whole.to(self._dtype or whole.dtype).cpu()
        return state

    def _save_merged(self, model: Any, folder: Path) -> None:
        model.merge_adapter()
        state = {
            name.removeprefix("base_model.model.").replace(".base_layer", ""): value
            for name, value in model.state_dict().items()
            if "lora_" not in name
        }
        model.get_base_model().save_pretrained(folder, state_dict=self._as_engine(state))
        model.unmerge_adapter()

    def _as_engine(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self._dtype is None:
            return dict(state)
        cast = {value.data_ptr(): value.to(self._dtype) for value in state.values()}  # tied stay one tensor
        return {name: cast[value.data_ptr()] for name, value in state.items()}


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


def _whole(model: Any) -> Any:
    """A model of the same shape without weights, which saves as one that was never sharded."""
    config = copy.deepcopy(model.config)
    config.__dict__.pop("distributed_config", None)
    with torch.device("meta"):
        return type(model)._from_config(config)
