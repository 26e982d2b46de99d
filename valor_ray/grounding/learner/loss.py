"""The loss of a batch as sums and counts, so that several groups of pictures, and several processes, have one mean.

GroundingDINO's: focal on tokens, L1 and GIoU on boxes, one-to-one for each decoder layer, and on the encoder's places
(one-to-one on its best proposals as published, or densely). What nobody knows has weight 0 (targets.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from valor_ray.grounding.learner.targets import CaptionTargets
from valor_ray.models.grounding_dino.losses import (
    CLASS_WEIGHT,
    Heads,
    Targets,
    box_loss,
    focal,
    match,
    place_targets,
)

REPLAY = "replay_"  # begins the names of rehearsal's parts and counts
Sums = dict[str, torch.Tensor]  # of the loss's parts, by name
# They are divided by: targets, and the encoder's places of the dense part; of rehearsal by distillation its own.
COUNTS = ("targets", "places", "replay_targets", "replay_places")


def loss_sums(heads: Heads, targets: Sequence[CaptionTargets], *, dense: bool) -> tuple[Sums, dict[str, int]]:
    """Sums of the loss's parts over one batch, and its COUNTS. dense: the encoder's loss is one-to-many.

    Differentiable; a batch without a target has sums of "no" alone, never NaN.
    """
    count = sum(len(target.boxes) for target in targets)
    sums = {f"layer{layer}": _layer(heads, layer, targets) for layer in range(len(heads.logits))}
    if not dense:
        sums["encoder"] = _proposals(heads, targets)
        return sums, {"targets": count, "places": 0}
    pairs = [place_targets(heads.centres, target.boxes) for target in targets]
    sums["dense"] = _part(heads.dense_logits, heads.dense_boxes, heads.text_mask, targets, pairs)
    return sums, {"targets": count, "places": sum(len(places) for places, _ in pairs)}


def means(sums: Sums, counts: Mapping[str, float]) -> Sums:
    """The loss's parts: each sum by its count, or by one where there is nothing to find."""
    return {name: value / max(counts[_counted_by(name)], 1.0) for name, value in sums.items()}


def _counted_by(part: str) -> str:
    own = REPLAY if part.startswith(REPLAY) else ""
    return own + ("places" if part == own + "dense" else "targets")


def _layer(heads: Heads, layer: int, targets: Sequence[CaptionTargets]) -> torch.Tensor:
    logits, boxes = heads.logits[layer], heads.boxes[layer]
    pairs = [_matched(logits[row], boxes[row], target) for row, target in enumerate(targets)]
    value = _part(logits, boxes, heads.text_mask, targets, pairs)
    if layer < len(heads.refined):
        refined = heads.refined[layer]
        value = value + sum(
            box_loss(refined[row, queries], targets[row].boxes[chosen])
            for row, (queries, chosen) in enumerate(pairs)
        )
    return value


def _proposals(heads: Heads, targets: Sequence[CaptionTargets]) -> torch.Tensor:
    """One-to-one on the places from which the decoder's queries start: those of the highest scores."""
    logits = heads.dense_logits.masked_fill(~heads.text_mask[:, None], -torch.inf)
    most = min(heads.logits[0].shape[1], logits.shape[1])
    best = logits.amax(-1).topk(most, 1).indices
    logits = heads.dense_logits.gather(1, best[..., None].expand(-1, -1, logits.shape[2]))
    boxes = heads.dense_boxes.gather(1, best[..., None].expand(-1, -1, 4))
    pairs = [_matched(logits[row], boxes[row], target) for row, target in enumerate(targets)]
    return _part(logits, boxes, heads.text_mask, targets, pairs)


def _matched(
    logits: torch.Tensor, boxes: torch.Tensor, target: CaptionTargets
) -> tuple[torch.Tensor, torch.Tensor]:
    if not len(target.boxes):
        none = torch.zeros(0, dtype=torch.long, device=boxes.device)
        return none, none
    return match(logits.float(), boxes.float(), Targets(target.boxes, target.tokens))


def _part(
    logits: torch.Tensor,
    boxes: torch.Tensor,
    text_mask: torch.Tensor,
    targets: Sequence[CaptionTargets],
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> torch.Tensor:
    value = logits.new_zeros(())
    for row, (target, (predictions, chosen)) in enumerate(zip(targets, pairs, strict=True)):
        weights = target.free(boxes[row].detach().float())
        wanted = torch.zeros_like(weights)
        weights[predictions] = target.known[chosen]
        wanted[predictions] = target.tokens[chosen]
        shown = text_mask[row]
        value = value + CLASS_WEIGHT * focal(logits[row][:, shown], wanted[:, shown], weights[:, shown])
        value = value + box_loss(boxes[row, predictions], target.boxes[chosen])
    return value
