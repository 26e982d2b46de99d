"""The exponential average of the weights over the steps, which is what a run ends with where `grpo.ema` asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import get_ema_multi_avg_fn

from valor_ray.errors import CheckpointError
from valor_ray.runs.checkpoints import AVERAGE


class AveragedWeights:
    """Of a model's trained parameters; every learner process has the same one. Training itself never sees it."""

    def __init__(self, model: torch.nn.Module, keep: float) -> None:
        """keep: the share of the average that a step keeps (grpo.ema)."""
        self._trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._follow: Any = get_ema_multi_avg_fn(keep)
        self._average = self._present()

    def follow(self) -> None:
        """Move on by the weights that a step has made."""
        present = [value.detach() for value in self._trained.values()]
        self._follow(list(self._average.values()), present, None)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the average for as long as the block lasts."""
        trained = self._present()
        self._copy(self._average)
        try:
            yield
        finally:
            self._copy(trained)

    def save(self, checkpoint: Path) -> None:
        save_file(
            {name: value.contiguous().cpu() for name, value in self._average.items()}, checkpoint / AVERAGE
        )

    def load(self, checkpoint: Path) -> None:
        """What the checkpoint has; of one without an average, its weights, which the model has by now.

        Raises CheckpointError.
        """
        if not (checkpoint / AVERAGE).exists():
            self._average = self._present()
            return
        try:
            saved = load_file(checkpoint / AVERAGE)
            for name, value in self._average.items():
                value.copy_(saved[name])
        except Exception as error:  # safetensors has errors of its own
            raise CheckpointError(
                f"{checkpoint / AVERAGE} cannot be read: {error}. Remove {checkpoint}: the one before goes on."
            ) from error

    def _present(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self._trained.items()}

    @torch.no_grad()
    def _copy(self, weights: dict[str, torch.Tensor]) -> None:
        for name, value in self._trained.items():
            value.copy_(weights[name])
