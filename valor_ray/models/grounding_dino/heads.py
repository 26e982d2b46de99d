"""A forward pass for training: every decoder layer's heads, and the heads on the encoder's places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GroundingDinoForObjectDetection

from valor_ray.models.grounding_dino.losses import Heads

_ABOVE_ALL = 1e5  # scores are logits; float32 tells each query's apart


class Forward:
    """Runs a detector and gives what its losses are of. Pictures of one size a call. Not thread-safe."""

    def __init__(self, model: GroundingDinoForObjectDetection) -> None:
        self.model = model
        self._raw: list[torch.Tensor] = []  # each decoder layer's features before the shared norm
        self._shapes: Sequence[tuple[int, int]] = ()  # rows and columns of the encoder's levels
        self._dense: torch.Tensor | None = None  # scores of the encoder's places
        self._start_at: torch.Tensor | None = None
        for layer in model.model.decoder.layers:
            layer.register_forward_hook(lambda _module, _inputs, output: self._raw.append(output[0]))
        model.model.encoder.register_forward_pre_hook(self._see, with_kwargs=True)
        model.model.encoder_output_class_embed.register_forward_hook(self._scored)

    def __call__(
        self,
        pixels: torch.Tensor,
        input_ids: torch.Tensor,
        text_mask: torch.Tensor,
        start_at: torch.Tensor | None = None,
    ) -> Heads:
        """pixels (batch, 3, height, width), normalised; input_ids and text_mask (batch, tokens). start_at: the
        encoder's places at which the decoder's queries start, (batch, queries); None: those of the highest scores."""
        self._raw.clear()
        self._dense, self._start_at = None, start_at
        out = self.model.model(
            pixel_values=pixels, input_ids=input_ids, attention_mask=text_mask, return_dict=True
        )
        mask, length = text_mask.bool(), input_ids.shape[1]
        logits, boxes, refined = [], [], []
        start = out.init_reference_points
        for layer in range(len(self._raw)):
            hidden = out.intermediate_hidden_states[:, layer]
            origin = torch.special.logit(start, eps=1e-5)
            scores = self.model.class_embed[layer](hidden, out.encoder_last_hidden_state_text, mask)
            logits.append(scores[..., :length])
            boxes.append((self.model.bbox_embed[layer](hidden) + origin).sigmoid())
            if layer + 1 < len(self._raw):
                refined.append((self.model.bbox_embed[layer](self._raw[layer]) + origin).sigmoid())
            start = out.intermediate_reference_points[:, layer]
        dense_boxes = out.enc_outputs_coord_logits.sigmoid()
        centres = place_centres(self._shapes).to(pixels.device)
        assert self._dense is not None
        starts = self._best(self._dense) if start_at is None else start_at
        return Heads(logits, boxes, refined, self._dense[..., :length], dense_boxes, centres, mask, starts)

    def _best(self, scores: torch.Tensor) -> torch.Tensor:
        """As the model picks its places."""
        return scores.detach().amax(-1).topk(self.model.config.num_queries, dim=1).indices

    def _scored(self, _module: Any, _inputs: Any, scores: torch.Tensor) -> torch.Tensor | None:
        """The model starts its queries at the places of the highest scores: those that are given are raised, in their
        order, in a column that nothing else reads. Called once more, of the picked places alone."""
        if self._dense is not None:
            return None
        self._dense = scores
        if self._start_at is None:
            return None
        raised, queries = scores.detach().clone(), self._start_at.shape[1]
        order = _ABOVE_ALL - torch.arange(queries, dtype=scores.dtype, device=scores.device)
        raised[..., -1].scatter_(1, self._start_at, order.expand_as(self._start_at))
        return raised

    def _see(self, _module: Any, _inputs: Any, given: dict[str, Any]) -> None:
        self._shapes = given["spatial_shapes_list"]


def place_centres(shapes: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Centre x, y and cell side of the encoder's places, relative, (places, 3). shapes: rows and columns by level.

    A cell's side is the longer one, relative to its own side of the picture.
    """
    levels = []
    for rows, columns in shapes:
        y, x = torch.meshgrid(
            (torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij"
        )
        side = torch.full((rows * columns,), 1 / min(rows, columns))
        levels.append(torch.stack([x.flatten(), y.flatten(), side], 1))
    return torch.cat(levels)
