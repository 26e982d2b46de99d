"""Original-format GroundingDINO checkpoints: reading, and their keys in the layout of the weights on the model hub.

transformers upgrades that layout to its present one when it loads. Names of modules are those of the original package
(IDEA-Research/GroundingDINO) and of Open-GroundingDINO, which fine-tunes in the same format.
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, SwinConfig

from valor_ray.errors import CheckpointError

# Buffers that transformers computes itself, and parts that only training uses.
IGNORED = re.compile(
    r"relative_position_index|attn_mask|position_ids|^bert\.pooler\.|^label_enc\.|_normalizer"
)

# Names of modules here and there; `#` stands for the number of a layer or block.
_ENCODER = "model.encoder.layers.#."
_SWIN = "model.backbone.conv_encoder.model."
_FUSION = {
    "gamma_v": "vision_param", "gamma_l": "text_param", "layer_norm_v": "layer_norm_vision",
    "layer_norm_l": "layer_norm_text", "attn.v_proj": "attn.vision_proj", "attn.l_proj": "attn.text_proj",
    "attn.values_v_proj": "attn.values_vision_proj", "attn.values_l_proj": "attn.values_text_proj",
    "attn.out_v_proj": "attn.out_vision_proj", "attn.out_l_proj": "attn.out_text_proj",
}  # fmt: skip
_DEFORMABLE = {
    "self_attn": "self_attn", "norm1": "self_attn_layer_norm", "linear1": "fc1", "linear2": "fc2",
    "norm2": "final_layer_norm",
}  # fmt: skip
_TEXT = {
    "self_attn": "self_attn", "norm1": "layer_norm_before", "linear1": "fc1", "linear2": "fc2",
    "norm2": "layer_norm_after",
}  # fmt: skip
_DECODER = {
    "cross_attn": "encoder_attn", "norm1": "encoder_attn_layer_norm", "ca_text": "encoder_attn_text",
    "catext_norm": "encoder_attn_text_layer_norm", "self_attn": "self_attn", "norm2": "self_attn_layer_norm",
    "linear1": "fc1", "linear2": "fc2", "norm3": "final_layer_norm",
}  # fmt: skip
_BLOCK = {
    "norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.output.dense",
    "attn.qkv": "attention.self.qkv",
    "attn.relative_position_bias_table": "attention.self.relative_position_bias_table",
    "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
}  # fmt: skip
_SINGLE = {
    "backbone.0.patch_embed.proj": _SWIN + "embeddings.patch_embeddings.projection",
    "backbone.0.patch_embed.norm": _SWIN + "embeddings.norm",
    "backbone.0.layers.#.downsample": _SWIN + "encoder.layers.#.downsample",
    "input_proj": "model.input_proj_vision",
    "bert": "model.text_backbone",
    "feat_map": "model.text_projection",
    "bbox_embed": "bbox_embed",
    "transformer.decoder.ref_point_head": "model.decoder.reference_points_head",
    "transformer.decoder.bbox_embed": "model.decoder.bbox_embed",
    "transformer.decoder.norm": "model.decoder.layer_norm",
    "transformer.enc_out_bbox_embed": "model.encoder_output_bbox_embed",
    "transformer.enc_output": "model.enc_output",
    "transformer.enc_output_norm": "model.enc_output_norm",
    "transformer.level_embed": "model.level_embed",
    "transformer.tgt_embed": "model.query_position_embeddings",
}
_GROUPS = (
    ("transformer.encoder.fusion_layers.#.", _ENCODER + "fusion_layer.", _FUSION),
    ("transformer.encoder.layers.#.", _ENCODER + "deformable_layer.", _DEFORMABLE),
    ("transformer.encoder.text_layers.#.", _ENCODER + "text_enhancer_layer.", _TEXT),
    ("transformer.decoder.layers.#.", "model.decoder.layers.#.", _DECODER),
    ("backbone.0.layers.#.blocks.#.", _SWIN + "encoder.layers.#.blocks.#.", _BLOCK),
)
# (original, hub), each once: to_original.py reads them the other way round.
NAMES = (
    *_SINGLE.items(),
    *((old + name, new + names[name]) for old, new, names in _GROUPS for name in names),
)


def renaming(names: Iterable[tuple[str, str]]) -> Callable[[str], str | None]:
    """A function from a key that starts with the first name of a pair to the key that starts with the second.

    It gives None for a key that starts with none of them.
    """
    rules = []
    for old, new in names:
        pattern = r"(\d+)".join(map(re.escape, old.split("#"))) + r"\b"
        pieces = new.split("#")
        target = pieces[0] + "".join(f"\\{at}{piece}" for at, piece in enumerate(pieces[1:], 1))
        rules.append((re.compile(pattern), target))

    def rename(key: str) -> str | None:
        return next((rule.sub(target, key, count=1) for rule, target in rules if rule.match(key)), None)

    return rename


_renamed = renaming(NAMES)
_STAGE_NORM = re.compile(r"backbone\.0\.norm(\d+)\.")


def read_original(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a `.pth`, without wrappers. Raises CheckpointError when the file holds no such weights."""
    try:
        # training tools store their arguments, too
        with torch.serialization.safe_globals([argparse.Namespace]):
            held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint: {error}. Download it again."
        ) from error
    for wrapper in ("model", "state_dict"):
        if isinstance(held, dict) and isinstance(held.get(wrapper), dict):
            held = held[wrapper]
    if not isinstance(held, dict) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise CheckpointError(
            f"{path} holds no weights: expected a dictionary of tensors, bare or under 'model'."
        )
    return {key.removeprefix("module."): value for key, value in held.items()}


def hub_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Original keys -> hub keys; joint query/key/value matrices are split. Unknown keys keep their name."""
    renamed: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        new = _rename(key)
        joint = re.search(r"(attention\.self\.)qkv\.|()in_proj_", new)
        if joint:
            for part, name in zip(value.chunk(3), ("query", "key", "value"), strict=True):
                renamed[f"{new[: joint.start()]}{joint.group(1) or ''}{name}.{new[joint.end() :]}"] = (
                    part.clone()
                )
        else:
            renamed[new] = value
    return renamed


def _rename(key: str) -> str:
    stage = _STAGE_NORM.match(key)
    if stage:  # transformers counts the stem as stage 0
        return f"{_SWIN}hidden_states_norms.stage{int(stage.group(1)) + 1}.{key[stage.end() :]}"
    return _renamed(key) or key


def _count(state: dict[str, torch.Tensor], pattern: str) -> int:
    return len({match.group(1) for key in state if (match := re.match(pattern, key))})


def sizes_of(state: dict[str, torch.Tensor], path: Path) -> dict[str, Any]:
    """Settings of `GroundingDinoConfig` read off the shapes of weights in hub layout.

    What shapes cannot tell (attention heads of the transformer and of BERT) is as in every published checkpoint; put a
    config.json beside the file for others. Raises CheckpointError when a weight that tells a size is missing.
    """
    try:
        return {
            "backbone_config": _swin_config(state),
            "text_config": _bert_config(state),
            "d_model": state["model.level_embed"].shape[1],
            "num_feature_levels": len(state["model.level_embed"]),
            "num_queries": len(state["model.query_position_embeddings.weight"]),
            "encoder_layers": _count(state, r"model\.encoder\.layers\.(\d+)"),
            "decoder_layers": _count(state, r"model\.decoder\.layers\.(\d+)"),
            "encoder_ffn_dim": len(state["model.encoder.layers.0.deformable_layer.fc1.bias"]),
            "decoder_ffn_dim": len(state["model.decoder.layers.0.fc1.bias"]),
        }
    except (KeyError, IndexError) as error:
        raise CheckpointError(
            f"{path} is not a complete original-format GroundingDINO: no weight {error} (hub naming). "
            "Download it again."
        ) from error


def _swin_config(state: dict[str, torch.Tensor]) -> SwinConfig:
    inside = re.escape(_SWIN)
    layers = [f"{_SWIN}encoder.layers.{n}." for n in range(_count(state, inside + r"encoder\.layers\.(\d+)"))]
    tables = [state[f"{at}blocks.0.attention.self.relative_position_bias_table"] for at in layers]
    stages = (re.match(inside + r"hidden_states_norms\.stage(\d)", key) for key in state)
    return SwinConfig(
        embed_dim=len(state[f"{_SWIN}embeddings.patch_embeddings.projection.bias"]),
        depths=[_count(state, re.escape(at) + r"blocks\.(\d+)") for at in layers],
        num_heads=[table.shape[1] for table in tables],
        window_size=(round(len(tables[0]) ** 0.5) + 1) // 2,
        out_indices=sorted({int(stage[1]) for stage in stages if stage}),
    )


def _bert_config(state: dict[str, torch.Tensor]) -> BertConfig:
    words = state["model.text_backbone.embeddings.word_embeddings.weight"]
    return BertConfig(
        vocab_size=words.shape[0],
        hidden_size=words.shape[1],
        num_hidden_layers=_count(state, r"model\.text_backbone\.encoder\.layer\.(\d+)"),
        num_attention_heads=max(1, words.shape[1] // 64),
        intermediate_size=len(state["model.text_backbone.encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(state["model.text_backbone.embeddings.position_embeddings.weight"]),
    )
