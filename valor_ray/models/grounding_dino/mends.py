"""Three mends that make transformers' GroundingDINO compute what the original computes.

transformers 5.0-5.19 (a) gives the separators between phrases text position 0 instead of their place in the block,
(b) since about 5.12 casts the sine embedding of text positions to int64, and (c) in the training loss takes targets
from the wrong picture's label map from the third picture of a batch on. Each mend looks at the behaviour first and
touches nothing that is already right; a wrong behaviour in a release that was never examined is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers.loss import loss_grounding_dino as hf_loss
from transformers.models.grounding_dino import modeling_grounding_dino as hf

from valor_ray.errors import CheckpointError

# first and last transformers release for which the mends were checked against the original
KNOWN = ((5, 0), (5, 19))
_PROBE = [101, 7, 8, 1012, 9, 1012, 102, 0]  # [CLS] a b . c . [SEP] [PAD]
_POSITIONS = [0, 0, 1, 2, 0, 1, 0, 0]


def block_masks(input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which caption tokens see each other, and their places: a block is a phrase with the separator that closes it.

    input_ids (batch, tokens) -> attention mask (batch, tokens, tokens) bool, position ids (batch, tokens) int64.
    Special tokens at the first and last place stand alone, as in the original.
    """
    batch, length = input_ids.shape
    places = torch.arange(length, device=input_ids.device).expand(batch, -1)
    special = torch.isin(input_ids, torch.tensor(hf.SPECIAL_TOKENS, device=input_ids.device))
    last = torch.cummax(torch.where(special, places, -1), dim=1).values
    # strictly before the token itself
    before = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], dim=1)
    closing = torch.where(special, places, length).flip(1).cummin(dim=1).values.flip(1)
    inside = (closing != 0) & (closing < length - 1)
    alone = torch.eye(length, dtype=torch.bool, device=input_ids.device)
    together = (closing[:, :, None] == closing[:, None, :]) & inside[:, None, :]
    return alone | together, torch.where(inside, places - before - 1, 0)


def _float_sine(original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def sine(pos_tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not pos_tensor.is_floating_point():
            pos_tensor = pos_tensor.float()
        return original(pos_tensor, *args, **kwargs)

    return sine


def _one_hot(
    self: Any, outputs: dict[str, Any], targets: list[dict[str, Any]], indices: list[Any]
) -> torch.Tensor:
    """Token targets of the matched queries, each read from its own picture's label map."""
    one_hot = torch.zeros_like(outputs["logits"], dtype=torch.long)
    for row, (label_map, target, (queries, chosen)) in enumerate(
        zip(outputs["label_maps"], targets, indices, strict=True)
    ):
        one_hot[row, queries] = label_map[target["class_labels"][chosen]].to(torch.long)
    return one_hot


def _positions_right() -> bool:
    _mask, positions = hf.generate_masks_with_special_tokens_and_transfer_map(torch.tensor([_PROBE]))
    return bool(positions[0].tolist() == _POSITIONS)


def _sine_right() -> bool:
    embedded = hf.encode_sinusoidal_position_embedding(torch.tensor([[[1]]]), num_pos_feats=8)
    return bool(embedded.is_floating_point())


def _targets_right() -> bool:
    maps = tuple(torch.eye(3, 4, dtype=torch.long)[:rows] for rows in (3, 2, 3))
    targets = [{"class_labels": torch.tensor([label])} for label in (0, 1, 2)]
    indices = [(torch.tensor([0]), torch.tensor([0]))] * 3
    loss = hf_loss.GroundingDinoImageLoss(None, 0.25, [])
    try:
        one_hot = loss._get_target_classes_one_hot(
            {"logits": torch.zeros(3, 1, 4), "label_maps": maps}, targets, indices
        )
    except IndexError:  # the wrong offset may point past the last map
        return False
    return bool(one_hot.argmax(-1).flatten().tolist() == [0, 1, 2])


@dataclass(frozen=True)
class Mend:
    name: str
    right: Callable[[], bool]
    apply: Callable[[], None]


def _mend_positions() -> None:
    hf.generate_masks_with_special_tokens_and_transfer_map = block_masks


def _mend_sine() -> None:
    hf.encode_sinusoidal_position_embedding = _float_sine(hf.encode_sinusoidal_position_embedding)


def _mend_targets() -> None:
    hf_loss.GroundingDinoImageLoss._get_target_classes_one_hot = _one_hot


MENDS = (
    Mend("separator positions", _positions_right, _mend_positions),
    Mend("text position embedding", _sine_right, _mend_sine),
    Mend("targets of batched prompts", _targets_right, _mend_targets),
)


def apply_mends() -> tuple[str, ...]:
    """Mend transformers in this process; returns the names of the mends that were needed. Safe to call again.

    Raises CheckpointError when a release outside `KNOWN` is wrong, or a mend does not take.
    """
    version = tuple(int(part) for part in re.findall(r"\d+", transformers.__version__)[:2])
    applied = []
    for mend in MENDS:
        if mend.right():
            continue
        if KNOWN[0] <= version <= KNOWN[1]:
            mend.apply()
        if not mend.right():
            raise CheckpointError(
                f"transformers {transformers.__version__} does not compute the original GroundingDINO ({mend.name}) "
                f"and the mend is only known for {KNOWN[0][0]}.{KNOWN[0][1]}-{KNOWN[1][0]}.{KNOWN[1][1]}: "
                "install a release in that range"
            )
        applied.append(mend.name)
    return tuple(applied)
