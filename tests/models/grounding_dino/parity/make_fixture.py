"""Writes original_outputs.npz: what the original GroundingDINO computes from weights seeded by parameter name.

Run it in an environment of its own, since the original does not run beside transformers 5:

    python3.11 -m venv .venv-oracle
    .venv-oracle/bin/pip install "setuptools<81" wheel torch==2.14.1 torchvision==0.29.1 transformers==4.46.3 timm
    .venv-oracle/bin/pip install --no-build-isolation groundingdino-py==0.4.0
    .venv-oracle/bin/python tests/models/grounding_dino/parity/make_fixture.py

It takes 6 GB of disk. The file holds logits, boxes and the names and shapes of the original's weights;
tests/models/grounding_dino/test_parity.py reads it. On a CPU the original uses its own pure PyTorch attention.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import seeded_weights as seeded
from groundingdino.models.GroundingDINO import groundingdino as original
from groundingdino.models.GroundingDINO.backbone import backbone as original_backbone
from groundingdino.models.GroundingDINO.backbone.swin_transformer import SwinTransformer
from groundingdino.util.misc import NestedTensor
from transformers import BatchEncoding, BertConfig, BertModel

SETTINGS = dict(
    backbone="swin_T_224_1k", position_embedding="sine", pe_temperatureH=20, pe_temperatureW=20,
    return_interm_indices=[1, 2, 3], backbone_freeze_keywords=None, enc_layers=seeded.LAYERS,
    dec_layers=seeded.LAYERS, pre_norm=False, dim_feedforward=seeded.FFN, hidden_dim=seeded.D_MODEL, dropout=0.0,
    nheads=seeded.HEADS, num_queries=seeded.QUERIES, query_dim=4, num_patterns=0, num_feature_levels=4,
    enc_n_points=4, dec_n_points=4, two_stage_type="standard", two_stage_bbox_embed_share=False,
    two_stage_class_embed_share=False, transformer_activation="relu", dec_pred_bbox_embed_share=True,
    dn_box_noise_scale=1.0, dn_label_noise_ratio=0.5, dn_labelbook_size=10, embed_init_tgt=True, max_text_len=256,
    text_encoder_type="bert-base-uncased", use_text_enhancer=True, use_fusion_layer=True, use_checkpoint=False,
    use_transformer_ckpt=False, use_text_cross_attention=True, text_dropout=0.0, fusion_dropout=0.0,
    fusion_droppath=0.0, sub_sentence_present=True,
)  # fmt: skip


class Tokens:
    """Stands for the tokenizer: the captions are given as ids."""

    def convert_tokens_to_ids(self, _tokens: list[str]) -> list[int]:
        return [101, 102, 1012, 1029]

    def __call__(self, captions: list[str], **_options: object) -> BatchEncoding:
        ids = torch.tensor([seeded.CAPTIONS[int(caption)] for caption in captions])
        return BatchEncoding(
            {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": (ids != 0).long()}
        )


def small_swin(_name: str, pretrain_img_size: int, **options: object) -> SwinTransformer:
    return SwinTransformer(
        pretrain_img_size=pretrain_img_size, embed_dim=seeded.EMBED_DIM, depths=list(seeded.DEPTHS),
        num_heads=list(seeded.SWIN_HEADS), window_size=seeded.WINDOW, drop_path_rate=0.0, **options,
    )  # fmt: skip


def small_bert(_name: str) -> BertModel:
    config = BertConfig(
        vocab_size=seeded.VOCABULARY, hidden_size=seeded.TEXT_HIDDEN, num_hidden_layers=seeded.TEXT_LAYERS,
        num_attention_heads=seeded.TEXT_HEADS, intermediate_size=2 * seeded.TEXT_HIDDEN,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=True)


def without_downloads() -> None:
    """Make the original build its small Swin and BERT where it would fetch published ones."""
    original_backbone.build_swin_transformer = small_swin
    original.get_tokenlizer.get_tokenlizer = lambda _name: Tokens()
    original.get_tokenlizer.get_pretrained_language_model = small_bert


def outputs(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Logits of the caption's tokens and boxes, of both pictures.

    One picture a call: in a batch the original's text layers mix the masks of different captions (it repeats them in
    another order than its attention reads them). Padding of picture and caption is kept.
    """
    pixels, mask = (torch.from_numpy(array) for array in seeded.pictures())
    with torch.no_grad():
        outs = [
            model(NestedTensor(pixels[row : row + 1], ~mask[row : row + 1]), captions=[str(row)])
            for row in range(len(pixels))
        ]
    length = len(seeded.CAPTIONS[0])
    return {
        "logits": torch.cat([out["pred_logits"] for out in outs])[..., :length].numpy(),
        "boxes": torch.cat([out["pred_boxes"] for out in outs]).numpy(),
    }


def main() -> None:
    without_downloads()
    model = original.build_groundingdino(SimpleNamespace(**SETTINGS)).eval()
    shapes = {}
    with torch.no_grad():
        for name, value in model.state_dict(keep_vars=True).items():
            if value.is_floating_point() and "attn_mask" not in name:
                value.copy_(torch.from_numpy(seeded.tensor(name, tuple(value.shape))))
                shapes[name] = list(value.shape)
        # The heads are one module under several names: the last name written is the one that counts.
        shared = {n: v for n, v in model.state_dict().items() if n.startswith("bbox_embed.0.")}
        for name in shared:
            shared[name].copy_(torch.from_numpy(seeded.tensor(name, tuple(shared[name].shape))))
    np.savez_compressed(
        Path(__file__).parent / "original_outputs.npz",
        **outputs(model),
        shapes=np.frombuffer(json.dumps(shapes).encode(), np.uint8),
    )


if __name__ == "__main__":
    main()
