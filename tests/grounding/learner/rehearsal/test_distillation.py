"""Rehearsal by distillation: nothing to learn at the start, and a way back afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_set import settings, tiny_set

from valor_ray.grounding.learner.examples import Batch, ExampleSet, Reader, batches
from valor_ray.grounding.learner.loss import COUNTS, means
from valor_ray.grounding.learner.rehearsal.distillation import Distillation, agreement_sums
from valor_ray.models.grounding_dino.heads import Forward
from valor_ray.models.grounding_dino.load import load_detector
from valor_ray.models.grounding_dino.losses import Heads

MODEL = "tabletop:detector"


def batch(folder: Path) -> Batch:
    """Two pictures whose captions differ in length."""
    config = settings("finetune.flip=0", "finetune.further_phrases=0")
    reader = Reader(load_detector(MODEL), config)
    sets = tiny_set(folder / "one"), tiny_set(folder / "two", absent=())
    (made,) = batches([ExampleSet(each, reader, config.finetune).draw(0, 1, 0, 1)[0] for each in sets], True)
    assert not made.text_mask.bool().all()
    return made


def heads(chance: float, box: tuple[float, ...] = (0.5, 0.5, 0.2, 0.2), tokens: int = 2) -> Heads:
    logits = torch.full((1, 1, tokens), chance).logit()
    logits[..., 1:] = -torch.inf  # padding
    boxes = torch.tensor(box)[None, None]
    shown = torch.arange(tokens)[None] < 1
    return Heads(
        [logits], [boxes], [], logits, boxes, torch.zeros(1, 3), shown, torch.zeros(1, 1, dtype=torch.long)
    )


def test_the_same_says_nothing() -> None:
    sums, counts = agreement_sums(heads(0.8), heads(0.8))
    assert {name: float(value) for name, value in sums.items()} == {
        "replay_layer0": pytest.approx(0, abs=1e-6), "replay_dense": pytest.approx(0, abs=1e-6),
    }  # fmt: skip
    assert counts == {"replay_targets": pytest.approx(0.8), "replay_places": pytest.approx(0.8)}


def test_scores_are_compared_by_the_divergence_of_their_chances() -> None:
    """.5 where the start says .8: .8 ln(.8/.5) + .2 ln(.2/.5) = .1927 nats, weighted by 2."""
    sums, _counts = agreement_sums(heads(0.5), heads(0.8))
    assert float(sums["replay_layer0"]) == pytest.approx(2 * 0.19274, abs=1e-4)


def test_boxes_count_as_much_as_the_start_is_sure() -> None:
    """A box beside it, of the same size: L1 is .2 (weight 5), GIoU 0 (touching; weight 2): 1 + 2 = 3."""
    beside = (0.7, 0.5, 0.2, 0.2)
    for sure in (0.8, 0.1):
        sums, _counts = agreement_sums(heads(sure, beside), heads(sure))
        assert float(sums["replay_layer0"]) == pytest.approx(3 * sure, rel=1e-3)


def test_the_start_detector_has_nothing_to_learn_and_one_that_has_moved_is_drawn_back(tmp_path: Path) -> None:
    shown = batch(tmp_path / "set")
    model = load_detector(MODEL).model.eval()
    forward, distillation = Forward(model), Distillation(MODEL, "cpu", 1.0)

    def loss() -> torch.Tensor:
        sums, counts = distillation.sums(forward, shown)
        assert tuple(sums) == distillation.parts and set(counts) == set(COUNTS[2:])
        assert min(counts.values()) > 0.5
        return torch.stack(list(means(sums, counts).values())).sum()

    loss().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert abs(float(loss().detach())) < 1e-5 and max(float(each.abs().max()) for each in gradients) < 1e-4
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * parameter.std(unbiased=False) * torch.randn_like(parameter))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5)
    values = []
    for _ in range(20):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[0] > 0.01 and values[-1] < 0.7 * values[0]


def test_the_weight_scales_the_sums_and_not_the_counts(tmp_path: Path) -> None:
    shown = batch(tmp_path / "set")
    model = load_detector(MODEL).model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.02)
        one, two = (Distillation(MODEL, "cpu", weight).sums(Forward(model), shown) for weight in (1.0, 2.5))
    assert one[1] == two[1]
    for name, value in one[0].items():
        assert float(two[0][name]) == pytest.approx(2.5 * float(value), rel=1e-5), name
