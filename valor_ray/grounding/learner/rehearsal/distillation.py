"""Rehearsal by distillation: on a picture to rehearse, the learning detector is to say what the start detector says.

The start detector is kept frozen beside it and sees the same pixels and caption. Its scores are soft targets of every
token at every place of the encoder and every query of the decoder, its boxes targets where it is sure of something
(learning without forgetting, arXiv 1606.09282). The decoder's queries start at the start detector's places, so each
prediction has its counterpart: nothing is paired, and no threshold makes an opinion a truth. At the first step all of
it is 0. Against its boxes as labels: docs/results/boxes.md.
"""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from valor_ray.grounding.learner.examples import Batch
from valor_ray.grounding.learner.loss import REPLAY, Sums
from valor_ray.models.grounding_dino.heads import Forward
from valor_ray.models.grounding_dino.load import load_detector
from valor_ray.models.grounding_dino.losses import (
    BOX_WEIGHT,
    CLASS_WEIGHT,
    GIOU_WEIGHT,
    Heads,
    giou,
)


class Distillation:
    """The start detector, frozen. Called by a learner process at each step; a forward pass more a rehearsed picture."""

    def __init__(self, model: str, device: str, weight: float) -> None:
        """model: as of `detector.model`. weight: of the sums."""
        start = load_detector(model).model.eval().requires_grad_(False)
        self._start, self._weight = Forward(start.to(device)), weight
        layers = int(start.config.decoder_layers)
        self.parts = (*(f"{REPLAY}layer{layer}" for layer in range(layers)), f"{REPLAY}dense")

    def sums(self, forward: Forward, batch: Batch) -> tuple[Sums, dict[str, float]]:
        """Sums of the loss's parts over one batch, and their counts (`loss.COUNTS`). Differentiable."""
        device = next(forward.model.parameters()).device
        pixels, words, shown = (each.to(device) for each in (batch.pixels, batch.input_ids, batch.text_mask))
        with torch.no_grad():
            start = self._start(pixels, words, shown)
        sums, counts = agreement_sums(forward(pixels, words, shown, start.starts), start)
        return {name: self._weight * value for name, value in sums.items()}, counts


def agreement_sums(heads: Heads, start: Heads) -> tuple[Sums, dict[str, float]]:
    """How far `heads` are from what `start` says, whose queries started at the same places.

    Scores: the Kullback-Leibler divergence of each token's chance, nats. Boxes: L1 and GIoU, by how sure the start
    detector is of the best token there. Counts: the sums of how sure it is, in the last layer and over the places.
    """
    sums: Sums = {}
    for layer, logits in enumerate(start.logits):
        value = _scores(heads.logits[layer], logits, start.text_mask)
        sure = _sure(logits, start.text_mask)
        value = value + _boxes(heads.boxes[layer], start.boxes[layer], sure)
        if layer < len(start.refined):
            value = value + _boxes(heads.refined[layer], start.refined[layer], sure)
        sums[f"{REPLAY}layer{layer}"] = value
    dense_sure = _sure(start.dense_logits, start.text_mask)
    sums[f"{REPLAY}dense"] = _scores(heads.dense_logits, start.dense_logits, start.text_mask) + _boxes(
        heads.dense_boxes, start.dense_boxes, dense_sure
    )
    targets = float(_sure(start.logits[-1], start.text_mask).sum())
    return sums, {f"{REPLAY}targets": targets, f"{REPLAY}places": float(dense_sure.sum())}


def _scores(logits: torch.Tensor, start: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
    padding = ~text_mask[:, None]
    logits, start = logits.float().masked_fill(padding, 0.0), start.float().masked_fill(padding, 0.0)
    wanted = start.sigmoid()
    own = binary_cross_entropy_with_logits(start, wanted, reduction="sum")
    return CLASS_WEIGHT * (binary_cross_entropy_with_logits(logits, wanted, reduction="sum") - own)


def _sure(logits: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
    """Chance of the best token: (batch, predictions)."""
    return logits.float().masked_fill(~text_mask[:, None], -torch.inf).amax(-1).sigmoid()


def _boxes(boxes: torch.Tensor, start: torch.Tensor, sure: torch.Tensor) -> torch.Tensor:
    apart = BOX_WEIGHT * (boxes - start).abs().sum(-1) + GIOU_WEIGHT * (1 - giou(boxes, start))
    return (apart * sure).sum()
