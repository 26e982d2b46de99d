"""The sizes of the models that are checked: those of published checkpoints, and the shipped tiny ones for tests.

Written out here, because a bare machine reaches no hub. Weights are random: speed and memory do not depend on them.
"""

from __future__ import annotations

from typing import Any

from valor_ray.config.models import CHECKPOINTS

# MoGe-2 ViT-L with normals, as its training settings give it (microsoft/MoGe, configs/train/v2.json).
_WIDTHS = [1024, 256, 128, 64, 32]
_RESAMPLERS = ["conv_transpose", "conv_transpose", "conv_transpose", "bilinear"]


def _moge_stack(dim_in: list[int], dim_out: Any, blocks: list[int]) -> dict[str, Any]:
    return {
        "dim_in": dim_in,
        "dim_out": dim_out,
        "dim_res_blocks": _WIDTHS,
        "num_res_blocks": blocks,
        "res_block_in_norm": "none",
        "res_block_hidden_norm": "none",
        "resamplers": _RESAMPLERS,
    }


def _moge_head(channels: int) -> dict[str, Any]:
    return _moge_stack(_WIDTHS, [None, None, None, None, channels], [0, 1, 1, 1, 0])


def moge(tiny: bool) -> dict[str, Any]:
    """`model_config` of a MoGe-2 checkpoint."""
    if tiny:
        import torch

        shipped = torch.load(CHECKPOINTS / "depth" / "model.pt", map_location="cpu", weights_only=True)
        return dict(shipped["model_config"])
    return {
        "encoder": {"backbone": "dinov2_vitl14", "intermediate_layers": [5, 11, 17, 23], "dim_out": 1024},
        "neck": _moge_stack([1026, 2, 2, 2, 2], None, [0, 2, 2, 2, 0]),
        "points_head": _moge_head(3),
        "normal_head": _moge_head(3),
        "mask_head": _moge_head(1),
        "scale_head": {"dims": [1024, 1024, 1024, 1]},
        "remap_output": "exp",
        "num_tokens_range": [1200, 3600],
    }


def policy(tiny: bool) -> Any:
    """Qwen3-0.6B's config."""
    from transformers import Qwen3Config

    if tiny:
        return Qwen3Config.from_pretrained(CHECKPOINTS / "policy")
    return Qwen3Config(
        vocab_size=151936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40960,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        eos_token_id=151645,
        bos_token_id=151643,
    )


def detector(tiny: bool) -> Any:
    """The config of IDEA-Research/grounding-dino-tiny: 172 M parameters."""
    from transformers import BertConfig, GroundingDinoConfig, SwinConfig

    if tiny:
        return GroundingDinoConfig.from_pretrained(CHECKPOINTS / "detector")
    return GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_indices=[2, 3, 4]
        ),
        text_config=BertConfig(),  # bert-base-uncased
        d_model=256,
        num_queries=900,
        num_feature_levels=4,
        encoder_layers=6,
        encoder_ffn_dim=2048,
        encoder_attention_heads=8,
        decoder_layers=6,
        decoder_ffn_dim=2048,
        decoder_attention_heads=8,
        max_text_len=256,
    )
