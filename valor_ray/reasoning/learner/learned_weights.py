"""The weights that the learner has made, written as the engine loads them: runs.weight_channel's Weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

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
        state = accelerator.get_state_dict(self._trainer.model)  # a collective call under FSDP
        if not accelerator.is_main_process:
            return
        model = accelerator.unwrap_model(self._trainer.model)
        if hasattr(model, "merge_adapter"):
            self._save_merged(model, folder)
        else:
            model.save_pretrained(folder, state_dict=self._as_engine(state))
        self._tokenizer.save_pretrained(folder)

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
