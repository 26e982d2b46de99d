"""The tabletop detector before training: GroundingDINO's architecture at about one million parameters."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertTokenizerFast,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    ResNetConfig,
)
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoFrozenBatchNorm2d

from valor_ray.tabletop.pretrain.detector_words import vocabulary

MAX_TEXT_TOKENS = 256
_PRIOR = (
    0.25  # shared part of vision and text features: a logit of -64 * 0.25² = -4 before anything is learnt
)
_TEXT_SCALE = 0.25  # keeps the random part of the first logits near ±2


def detector_config() -> GroundingDinoConfig:
    backbone = ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 128],
        depths=[1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3"],
    )
    text = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=MAX_TEXT_TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_feature_levels=2,
        num_queries=30,
        max_text_len=MAX_TEXT_TOKENS,
        dropout=0.0,
        fusion_droppath=0.0,
        disable_custom_kernels=True,
    )


def new_detector() -> GroundingDinoForObjectDetection:
    """A detector with random weights that finds almost nothing, so the first losses come from objects."""
    model = GroundingDinoForObjectDetection(detector_config())
    thaw_backbone(model)
    with torch.no_grad():
        text_norm = model.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
        text_norm.weight.fill_(_TEXT_SCALE)
        text_norm.bias.fill_(-_PRIOR)
        for norm in (model.model.enc_output_norm, model.model.decoder.layer_norm):
            norm.bias.fill_(_PRIOR)
    return model


def thaw_backbone(model: GroundingDinoForObjectDetection) -> None:
    """Let the backbone learn: transformers freezes it, and its batch norms, as if it came pre-trained."""
    _thaw(model.model.backbone)
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def _thaw(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, GroundingDinoFrozenBatchNorm2d):
            norm = nn.BatchNorm2d(len(child.weight))
            norm.load_state_dict(child.state_dict(), strict=False)
            setattr(module, name, norm)
        else:
            _thaw(child)


def frozen_copy(state: dict[str, torch.Tensor]) -> GroundingDinoForObjectDetection:
    """The model as users load it (batch norms frozen), from a trained state."""
    model = GroundingDinoForObjectDetection(detector_config())
    kept = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    model.load_state_dict(kept)
    return model.eval()


def detector_processor(side: int) -> GroundingDinoProcessor:
    tokenizer = BertTokenizerFast(vocab=vocabulary(), model_max_length=MAX_TEXT_TOKENS)
    pictures = GroundingDinoImageProcessor(size={"shortest_edge": side, "longest_edge": 2 * side})
    return GroundingDinoProcessor(pictures, tokenizer)


def save_detector(model: GroundingDinoForObjectDetection, side: int, folder: Path) -> None:
    """Write a folder that `AutoProcessor` and `GroundingDinoForObjectDetection` load by `from_pretrained`.

    `side`: shortest side of the pictures that the model sees, px.
    """
    model.save_pretrained(folder)
    detector_processor(side).save_pretrained(folder)
