"""Loads GroundingDINO with its mends from a folder or hub id in transformers format, or from an original `.pth`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,  # transformers' own choice resizes with torchvision where there is one
)
from transformers.utils.logging import disable_progress_bar

from valor_ray.errors import CheckpointError
from valor_ray.models.checkpoint import folder_tensors
from valor_ray.models.grounding_dino.mends import apply_mends
from valor_ray.models.grounding_dino.original import IGNORED, hub_layout, read_original, sizes_of
from valor_ray.models.hub import loadable

ORIGINAL_TOKENIZER = "google-bert/bert-base-uncased"
_SHOWN = 4  # keys named in a message


@dataclass(frozen=True)
class LoadedDetector:
    model: GroundingDinoForObjectDetection
    image_processor: GroundingDinoImageProcessorPil
    tokenizer: Any


def load_detector(name: str) -> LoadedDetector:
    """Load what `detector.model` names. Raises CheckpointError naming the file, and keys where they do not fit."""
    apply_mends()
    place = loadable(name)
    if Path(place).is_file():
        return _load_original(Path(place))
    if Path(place).is_dir():
        folder_tensors(Path(place))
    try:
        config = GroundingDinoConfig.from_pretrained(place)
        image_processor = GroundingDinoImageProcessorPil.from_pretrained(place)
        tokenizer = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot read config, image processor and tokenizer of {place}: {error}. "
            "Give a complete folder in transformers format, or a hub id that this machine can reach or has cached."
        ) from error
    return LoadedDetector(_weights(place, config, None), image_processor, tokenizer)


def _weights(
    place: str, config: GroundingDinoConfig, state: dict[str, torch.Tensor] | None
) -> GroundingDinoForObjectDetection:
    """The model with exactly the weights of `place` (or of `state`): every one used, none left at random."""
    disable_progress_bar()  # a bar for each model amid a job's own lines
    try:
        model, info = GroundingDinoForObjectDetection.from_pretrained(
            None if state is not None else place,
            config=config,
            state_dict=state,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"cannot read the weights of {place}: {error}. Copy or download them again."
        ) from error
    problems = []
    for kind, word in (
        ("missing_keys", "missing"),
        ("unexpected_keys", "unexpected"),
        ("mismatched_keys", "of another shape"),
    ):
        keys = sorted(key if isinstance(key, str) else key[0] for key in info[kind])
        if keys:
            more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
            problems.append(f"{len(keys)} {word}: {', '.join(keys[:_SHOWN])}{more}")
    if problems:
        raise CheckpointError(
            f"the weights in {place} do not fit GroundingDINO as its config describes it ({'; '.join(problems)}). "
            "Use the config.json that belongs to these weights."
        )
    return model


def _load_original(path: Path) -> LoadedDetector:
    """An original-format file. A `config.json` and tokenizer files beside it are used where they exist."""
    state = hub_layout({key: value for key, value in read_original(path).items() if not IGNORED.search(key)})
    beside = path.parent
    if (beside / "config.json").is_file():
        config = GroundingDinoConfig.from_pretrained(beside)
    else:
        config = GroundingDinoConfig(**sizes_of(state, path))
    own = any((beside / name).is_file() for name in ("tokenizer.json", "vocab.txt"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(beside if own else ORIGINAL_TOKENIZER)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} carries no tokenizer, and {ORIGINAL_TOKENIZER} cannot be reached: {error}. "
            "Put the tokenizer's files (tokenizer.json or vocab.txt) beside the checkpoint."
        ) from error
    if any((beside / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        pictures = GroundingDinoImageProcessorPil.from_pretrained(beside)
    else:
        pictures = GroundingDinoImageProcessorPil()
    return LoadedDetector(_weights(str(path), config, state), pictures, tokenizer)
