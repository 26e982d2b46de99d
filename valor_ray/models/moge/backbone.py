"""The small DINOv2 that the tabletop's MoGe-2 stands on, offered to MoGe under a name as its own backbones are."""

from __future__ import annotations

from functools import partial
from typing import Any

# Name in `model_config.encoder.backbone` -> embedding width, blocks, heads, picture side of the position grid.
SMALL_BACKBONES: dict[str, tuple[int, int, int, int]] = {
    "valor_dinov2_mini14": (96, 4, 3, 224),
}


def _small_dinov2(name: str, pretrained: bool = False) -> Any:
    """A DINOv2 vision transformer with patches of 14 px. `pretrained` is part of MoGe's call."""
    from moge.model.dinov2.layers import MemEffAttention
    from moge.model.dinov2.layers import NestedTensorBlock as Block
    from moge.model.dinov2.models.vision_transformer import DinoVisionTransformer

    if pretrained:
        raise ValueError(f"{name} has no published weights: load a checkpoint that holds them")
    width, blocks, heads, side = SMALL_BACKBONES[name]
    return DinoVisionTransformer(
        img_size=side,
        patch_size=14,
        embed_dim=width,
        depth=blocks,
        num_heads=heads,
        init_values=1.0,
        block_chunks=0,
        block_fn=partial(Block, attn_class=MemEffAttention),
    )


def register_backbones() -> None:
    """Make the small backbones known to MoGe, which looks backbones up by name in one of its modules."""
    from moge.model.dinov2.hub import backbones

    for name in SMALL_BACKBONES:
        setattr(backbones, name, partial(_small_dinov2, name))
