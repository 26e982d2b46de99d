"""Writes a GroundingDINO as an original-format `.pth`, which groundingdino-py and Open-GroundingDINO load.

The other way round of `original.py`, from the same table of names. What the file does not hold, both programs make
themselves: the tables of relative positions, and BERT's pooler, whose output nothing uses.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from valor_ray.errors import CheckpointError, StorageError
from valor_ray.models.grounding_dino.original import NAMES, renaming

if TYPE_CHECKING:
    from transformers import GroundingDinoForObjectDetection

_SHOWN = 4  # keys named in a message
_renamed = renaming((hub, original) for original, hub in NAMES)
_STAGE_NORM = re.compile(r"model\.backbone\.conv_encoder\.model\.hidden_states_norms\.stage(\d+)\.")
# parts of a joint matrix: of Swin's attention, and of the attention to text; BERT keeps them apart
_PART = re.compile(
    r"(model\.backbone\..*\.attention\.self\.|model\.(?:en|de)coder\..*\.)(query|key|value)\.(weight|bias)"
)
_HEAD = re.compile(r"bbox_embed\.(\d+)\.")
# a norm that transformers' Swin has and a backbone never applies
_UNUSED = re.compile(r"model\.backbone\.conv_encoder\.model\.swin\.layernorm\.")


def save_original(model: GroundingDinoForObjectDetection, path: Path) -> None:
    """Write {"model": weights} to `path`, whole or not at all; its folder is made where it is missing.

    Holds a second copy of the weights meanwhile, in memory and on the disk of `path`. A `.pth` carries no settings: who
    loads it names those that differ from the published ones (attention heads, text length, windows).
    Raises CheckpointError where the weights have no original layout (a backbone other than Swin), StorageError where
    the disk does not take them.
    """
    backbone = model.config.backbone_config.model_type
    if backbone != "swin":
        raise CheckpointError(
            f"a GroundingDINO with a {backbone} backbone has no original .pth layout: that is written for Swin only. "
            "Keep its folder in transformers format."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as part:
            state = original_layout(_hub_weights(model, Path(part)), model.config.decoder_layers)
            written = Path(part) / path.name
            torch.save({"model": state}, written)
            written.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise StorageError(
            f"Cannot write {path}: {error}. Make room or name another place, then write it again."
        ) from error


def original_layout(weights: dict[str, torch.Tensor], decoder_layers: int) -> dict[str, torch.Tensor]:
    """Hub keys -> the original's, the inverse of `original.hub_layout`: matrices of query, key and value are joined.

    A box head that all layers share is named once for each of them, and again under the decoder, as the original names
    it. Raises CheckpointError naming weights that the original does not have.
    """
    state: dict[str, torch.Tensor] = {}
    unknown: list[str] = []
    for key, value in _joined(weights).items():
        name = _rename(key)
        if name is None:
            unknown.append(key)
        else:
            state[name] = value
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise CheckpointError(
            f"{len(unknown)} weights have no place in an original .pth: {', '.join(unknown[:_SHOWN])}{more}. "
            "It holds two-stage models with sine positions and learnt queries; keep the folder in transformers format."
        )
    return state | _heads(state, decoder_layers)


def _hub_weights(model: GroundingDinoForObjectDetection, folder: Path) -> dict[str, torch.Tensor]:
    """The weights as transformers publishes them: its modules bear other names in memory than on the hub."""
    model.save_pretrained(folder)
    weights: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        weights |= load_file(file)
    return {key: value for key, value in weights.items() if not _UNUSED.match(key)}


def _joined(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights with each query, key and value as one, query first; every other key as it is."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    joined: dict[str, torch.Tensor] = {}
    for key, value in weights.items():
        part = _PART.fullmatch(key)
        if part:
            start, name, kind = part.groups()
            whole = f"{start}qkv.{kind}" if start.endswith("attention.self.") else f"{start}in_proj_{kind}"
            parts.setdefault(whole, {})[name] = value
        else:
            joined[key] = value
    for whole, by_name in parts.items():
        joined[whole] = torch.cat([by_name[name] for name in ("query", "key", "value")])
    return joined


def _rename(key: str) -> str | None:
    stage = _STAGE_NORM.match(key)
    if stage:  # transformers counts the stem as stage 0
        return f"backbone.0.norm{int(stage.group(1)) - 1}.{key[stage.end() :]}"
    return _renamed(key)


def _heads(state: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """Every name of the box heads: those of layer 0 for each layer without its own; `state` has one key a matrix."""
    heads: dict[str, torch.Tensor] = {}
    for key in [key for key in state if _HEAD.match(key)]:
        rest = _HEAD.sub("", key, count=1)
        for layer in range(layers):
            head = state.get(f"bbox_embed.{layer}.{rest}", state[f"bbox_embed.0.{rest}"])
            heads[f"bbox_embed.{layer}.{rest}"] = heads[f"transformer.decoder.bbox_embed.{layer}.{rest}"] = (
                head
            )
    return heads
