"""Losses of detector pre-training: one-to-one on the queries, one-to-many on the encoder's picture tokens.

Boxes are (centre x, centre y, width, height) relative to the picture. A target may be named by several phrases of the
caption, so its token target has several ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F
from transformers.image_transforms import center_to_corners_format

BOX_WEIGHT, GIOU_WEIGHT, CLASS_WEIGHT = 5.0, 2.0, 2.0
_ALPHA, _GAMMA = 0.25, 2.0


@dataclass(frozen=True)
class Targets:
    boxes: torch.Tensor  # (objects, 4)
    tokens: torch.Tensor  # (objects, caption tokens), 1 where a token is of a phrase that names the object


@dataclass(frozen=True)
class Heads:
    """What one forward pass predicts."""

    logits: list[torch.Tensor]  # a decoder layer: (batch, queries, tokens)
    boxes: list[torch.Tensor]  # a decoder layer: (batch, queries, 4)
    refined: list[torch.Tensor]  # the box that each layer but the last hands to the next one
    dense_logits: torch.Tensor  # (batch, places, tokens)
    dense_boxes: torch.Tensor  # (batch, places, 4)
    centres: torch.Tensor  # (places, 3): x, y of each encoder place and its cell's side, relative
    text_mask: torch.Tensor  # (batch, tokens) bool
    starts: torch.Tensor  # (batch, queries): the encoder's places at which the queries start


def giou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Generalised IoU (arXiv 1902.09630) of broadcastable boxes (…, 4), in -1..1."""
    a, b = center_to_corners_format(a), center_to_corners_format(b)
    inner = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    hull = (
        (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    area = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    return inner / area.clamp(min=1e-7) - (hull - area) / hull.clamp(min=1e-7)


def focal(logits: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Focal loss (arXiv 1708.02002), each element by its weight, summed; all of one shape."""
    chance = logits.sigmoid()
    wrong = torch.where(wanted > 0, 1 - chance, chance)
    scale = torch.where(wanted > 0, _ALPHA, 1 - _ALPHA) * wrong**_GAMMA * weights
    return (scale * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")).sum()


def _caption_focal(logits: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Over the caption tokens that are not padding."""
    shown = mask[:, None].expand_as(logits)
    return focal(logits[shown], wanted[shown], torch.ones_like(logits[shown]))


def box_loss(boxes: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """L1 and GIoU of paired boxes (n, 4), weighted, summed."""
    return BOX_WEIGHT * (boxes - wanted).abs().sum() + GIOU_WEIGHT * (1 - giou(boxes, wanted)).sum()


@torch.no_grad()
def match(logits: torch.Tensor, boxes: torch.Tensor, target: Targets) -> tuple[torch.Tensor, torch.Tensor]:
    """Cheapest one-to-one pairing of the queries of one picture with its targets: (query indices, target indices)."""
    named = target.tokens.bool().any(0)
    chance = logits[:, named].sigmoid()
    positive = _ALPHA * (1 - chance) ** _GAMMA * -(chance + 1e-8).log()
    negative = (1 - _ALPHA) * chance**_GAMMA * -(1 - chance + 1e-8).log()
    share = target.tokens[:, named] / target.tokens.sum(-1, keepdim=True)
    cost = CLASS_WEIGHT * (positive - negative) @ share.T
    cost = cost + BOX_WEIGHT * torch.cdist(boxes, target.boxes, p=1)
    cost = cost - GIOU_WEIGHT * giou(boxes[:, None], target.boxes[None])
    queries, chosen = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(queries, device=cost.device), torch.as_tensor(chosen, device=cost.device)


def _query_loss(heads: Heads, layer: int, targets: Sequence[Targets], count: float) -> torch.Tensor:
    logits, boxes = heads.logits[layer], heads.boxes[layer]
    one_hot = torch.zeros_like(logits)
    framing = logits.new_zeros(())
    for row, target in enumerate(targets):
        if len(target.boxes) == 0:
            continue
        queries, chosen = match(logits[row], boxes[row], target)
        one_hot[row, queries] = target.tokens[chosen]
        framing = framing + box_loss(boxes[row, queries], target.boxes[chosen])
        if layer < len(heads.refined):
            framing = framing + box_loss(heads.refined[layer][row, queries], target.boxes[chosen])
    return (CLASS_WEIGHT * _caption_focal(logits, one_hot, heads.text_mask) + framing) / count


@torch.no_grad()
def place_targets(centres: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Encoder places near the middle of a target box: (place indices, target indices); a place keeps the smallest box.

    Near means within a fifth of the box's side or 0.6 cells, so every box has at least one place on each level.
    """
    if len(boxes) == 0:
        empty = torch.zeros(0, dtype=torch.long, device=boxes.device)
        return empty, empty
    reach = torch.maximum(0.2 * boxes[None, :, 2:], 0.6 * centres[:, None, 2:])
    near = ((centres[:, None, :2] - boxes[None, :, :2]).abs() < reach).all(-1)
    area = torch.where(near, boxes[:, 2:].prod(-1)[None], torch.inf)
    smallest, chosen = area.min(-1)
    places = torch.nonzero(torch.isfinite(smallest))[:, 0]
    return places, chosen[places]


def _dense_loss(heads: Heads, targets: Sequence[Targets]) -> torch.Tensor:
    one_hot = torch.zeros_like(heads.dense_logits)
    framing = one_hot.new_zeros(())
    count = 0
    for row, target in enumerate(targets):
        places, chosen = place_targets(heads.centres, target.boxes)
        one_hot[row, places] = target.tokens[chosen]
        framing = framing + box_loss(heads.dense_boxes[row, places], target.boxes[chosen])
        count += len(places)
    return (CLASS_WEIGHT * _caption_focal(heads.dense_logits, one_hot, heads.text_mask) + framing) / max(
        count, 1
    )


def detection_loss(heads: Heads, targets: Sequence[Targets]) -> dict[str, torch.Tensor]:
    """Named parts of the loss of one batch; their sum is minimised."""
    count = float(max(sum(len(target.boxes) for target in targets), 1))
    parts = {f"layer{layer}": _query_loss(heads, layer, targets, count) for layer in range(len(heads.logits))}
    parts["dense"] = _dense_loss(heads, targets)
    return parts
