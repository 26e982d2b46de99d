"""A detector's weights: which of them learn, and how they are written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import GroundingDinoForObjectDetection

from valor_ray.errors import StorageError
from valor_ray.grounding.learner.averages import State
from valor_ray.models.grounding_dino.load import LoadedDetector

_PARTS = {"text": ("model.text_backbone.",), "backbone": ("model.backbone.",)}


def freeze(model: GroundingDinoForObjectDetection, parts: Sequence[str]) -> State:
    """Let all learn but these parts; the weights that do, by name. Nothing drops out: training sees what inference
    sees, and a step is the same whenever it is made."""
    prefixes = tuple(prefix for part in parts for prefix in _PARTS[part])
    model.eval()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes))
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def is_backbone(name: str) -> bool:
    """Whether a parameter is of the picture's backbone."""
    return name.startswith(_PARTS["backbone"])


def copied(state: State) -> State:
    return {name: value.detach().clone() for name, value in state.items()}


@torch.no_grad()
def write_detector(loaded: LoadedDetector, state: State, folder: Path, *, original: bool = True) -> Path:
    """A folder in hub format with `state` in place of the model's own weights of these names, there whole or not at
    all; with a Swin backbone also in the original layout, `original.pth`. Raises StorageError."""
    own = dict(loaded.model.named_parameters())
    before = copied({name: own[name] for name in state})
    part = folder.with_name(folder.name + ".part")
    try:
        for name, value in state.items():
            own[name].copy_(value)
        shutil.rmtree(part, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        loaded.model.save_pretrained(part)
        loaded.image_processor.save_pretrained(part)
        loaded.tokenizer.save_pretrained(part)
        if original and loaded.model.config.backbone_config.model_type == "swin":
            from valor_ray.models.grounding_dino.to_original import save_original

            save_original(loaded.model, part / "original.pth")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"Cannot write the detector {folder} ({error}). Free some space; the same command goes on."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for name, value in before.items():
            own[name].copy_(value)
    return folder
