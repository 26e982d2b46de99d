"""The forward pass for training: where the decoder's queries start."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from valor_ray.config.models import CHECKPOINTS
from valor_ray.models.grounding_dino.heads import Forward
from valor_ray.models.grounding_dino.load import load_detector


@pytest.fixture
def forward() -> Iterator[Forward]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield Forward(load_detector(str(CHECKPOINTS / "detector")).model.eval())


def inputs() -> tuple[torch.Tensor, ...]:
    ids = torch.tensor([[101, 5, 1012, 102]]).repeat(2, 1)
    return torch.randn(2, 3, 96, 160), ids, torch.ones_like(ids)


def test_queries_start_at_the_places_of_the_highest_scores(forward: Forward) -> None:
    seen: list[torch.Tensor] = []
    decoder = forward.model.model.decoder

    def see(_module: Any, _inputs: Any, given: dict[str, Any]) -> None:
        seen.append(given["reference_points"])

    decoder.register_forward_pre_hook(see, with_kwargs=True)
    given = inputs()
    heads = forward(*given)
    assert heads.starts.shape == (2, forward.model.config.num_queries)

    def boxes_at(starts: torch.Tensor) -> torch.Tensor:
        return heads.dense_boxes.gather(1, starts[..., None].expand(-1, -1, 4))

    assert torch.allclose(seen[-1], boxes_at(heads.starts))
    lowest = heads.dense_logits.amax(-1).argsort(1)[:, : heads.starts.shape[1]]
    other = forward(*given, lowest)  # any places, in any order
    assert torch.allclose(seen[-1], boxes_at(lowest)) and torch.equal(other.starts, lowest)
    assert torch.equal(other.dense_logits, heads.dense_logits)
    assert not torch.allclose(other.logits[-1], heads.logits[-1])


def test_its_own_places_change_nothing_and_are_forgotten(forward: Forward) -> None:
    given = inputs()
    heads = forward(*given)
    for again in (forward(*given, heads.starts), forward(*given)):
        assert torch.equal(again.starts, heads.starts)
        for one, two in zip((*heads.logits, *heads.boxes), (*again.logits, *again.boxes), strict=True):
            assert torch.equal(one, two)
