"""What a caption of a picture asks of the detector's predictions, as tensors: the rules at the head of
dataset/training.py.

Boxes here are (centre x, centre y, width, height) relative to the picture. A weight of 0 leaves a token of a prediction
out of the loss: nobody knows whether it is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from transformers.image_transforms import center_to_corners_format, corners_to_center_format

from valor_ray.grounding.dataset.captions import Marked, Role, Target, TrainingCaption

OVERLAP = 0.5  # IoU from which a prediction is taken to be at a box


@dataclass(frozen=True)
class CaptionTargets:
    """Of one caption in one picture; all tensors on one device."""

    boxes: torch.Tensor  # (targets, 4)
    tokens: torch.Tensor  # (targets, tokens): 1 where a token is of a phrase that names the target
    known: torch.Tensor  # (targets, tokens): 0 where a token is of a phrase that may name it
    unknown: torch.Tensor  # (targets, phrases): phrases that may name it
    spans: torch.Tensor  # (phrases, tokens): 1 where a token is of the phrase
    elsewhere: torch.Tensor  # (phrases,): weight of "no" for the phrase where nothing is known
    refused: torch.Tensor  # (boxes, 4): hard negatives
    refused_phrases: torch.Tensor  # (boxes,)
    ignored: torch.Tensor  # (boxes, 4)
    ignored_phrases: torch.Tensor  # (boxes,)

    @classmethod
    def of(
        cls,
        caption: TrainingCaption,
        size: tuple[float, float],
        length: int,
        *,
        elsewhere: float,
        hard: bool = True,
        mirrored: bool = False,
    ) -> Self:
        """size: width and height of the network's input in pixels of the picture. length: tokens of the batch's longest
        caption. elsewhere: weight of "no" for phrases that are not absent, where nothing is known.
        hard: whether hard negatives count. mirrored: the boxes of the mirrored picture."""
        spans = torch.zeros(len(caption.phrases), length)
        for place, (start, stop) in enumerate(caption.spans):
            spans[place, start:stop] = 1
        named, unknown = (
            _places(caption.targets, kind, len(caption.phrases)) for kind in ("places", "unknown")
        )
        weights = {Role.ABSENT: 1.0, Role.FURTHER: 0.0}
        refused = caption.hard_negatives if hard else ()

        def boxes(marked: tuple[Marked, ...] | tuple[Target, ...]) -> torch.Tensor:
            return _relative([each.bbox for each in marked], size, mirrored=mirrored)

        return cls(
            boxes(caption.targets),
            named @ spans,
            1 - unknown @ spans,
            unknown,
            spans,
            torch.tensor([weights.get(role, elsewhere) for role in caption.roles]),
            boxes(refused),
            torch.tensor([each.place for each in refused], dtype=torch.long),
            boxes(caption.ignored),
            torch.tensor([each.place for each in caption.ignored], dtype=torch.long),
        )

    def to(self, device: torch.device | str) -> Self:
        return type(self)(**{name: value.to(device) for name, value in vars(self).items()})

    @torch.no_grad()
    def free(self, boxes: torch.Tensor) -> torch.Tensor:
        """Weights (predictions, tokens) of "no" for predictions (boxes: n, 4) that are matched to no target."""
        weights = self.elsewhere.expand(len(boxes), -1).clone()
        for marked, phrases, weight in (
            (self.ignored, self.ignored_phrases, 0.0),
            (self.refused, self.refused_phrases, 1.0),
        ):
            rows, columns = torch.nonzero(iou(boxes, marked) >= OVERLAP, as_tuple=True)
            weights[rows, phrases[columns]] = weight
        if len(self.boxes):
            at = (iou(boxes, self.boxes) >= OVERLAP).float()
            unclear = (at @ self.unknown) > 0
            weights = torch.where(at.any(1)[:, None], (~unclear).float(), weights)
        other = 1 - self.spans.amax(0) if len(self.spans) else torch.ones(self.spans.shape[1:]).to(boxes)
        return weights @ self.spans + other


def iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """IoU of every box of a (n, 4) with every box of b (m, 4): (n, m)."""
    a, b = center_to_corners_format(a)[:, None], center_to_corners_format(b)[None]
    inner = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    return inner / (areas - inner).clamp(min=1e-9)


def _places(targets: tuple[Target, ...], kind: str, phrases: int) -> torch.Tensor:
    table = torch.zeros(len(targets), phrases)
    for row, target in enumerate(targets):
        table[row, list(getattr(target, kind))] = 1
    return table


def _relative(
    corners: list[tuple[float, float, float, float]], size: tuple[float, float], *, mirrored: bool
) -> torch.Tensor:
    relative = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4) / torch.tensor([*size, *size])
    if mirrored:
        relative = torch.stack([1 - relative[:, 2], relative[:, 1], 1 - relative[:, 0], relative[:, 3]], 1)
    return corners_to_center_format(relative) if len(relative) else relative
