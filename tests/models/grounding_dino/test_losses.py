import pytest
import torch

from valor_ray.models.grounding_dino.heads import place_centres
from valor_ray.models.grounding_dino.losses import Targets, giou, match, place_targets


def test_giou_of_known_boxes():
    a = torch.tensor([0.5, 0.5, 0.2, 0.2])
    assert giou(a, a).item() == pytest.approx(1)
    apart = torch.tensor([0.9, 0.5, 0.2, 0.2])
    # Hull 0.6 x 0.2, union 0.08: 0 - 0.04 / 0.12.
    assert giou(a, apart).item() == pytest.approx(-1 / 3)


def test_each_target_takes_the_query_that_fits_words_and_place():
    tokens = torch.tensor([[0.0, 1, 1, 0, 0], [0, 0, 0, 1, 1]])
    target = Targets(torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]]), tokens)
    logits = torch.full((3, 5), -4.0)
    logits[0, 3:], logits[2, 1:3] = 3.0, 3.0
    boxes = torch.tensor([[0.68, 0.7, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9], [0.3, 0.32, 0.2, 0.2]])
    queries, chosen = match(logits, boxes, target)
    assert dict(zip(queries.tolist(), chosen.tolist(), strict=True)) == {0: 1, 2: 0}


def test_padding_tokens_do_not_reach_the_cost():
    target = Targets(torch.tensor([[0.3, 0.3, 0.2, 0.2]]), torch.tensor([[1.0, 0.0]]))
    logits = torch.tensor([[0.0, -torch.inf], [1.0, -torch.inf]])
    queries, _chosen = match(logits, torch.tensor([[0.3, 0.3, 0.2, 0.2]] * 2), target)
    assert queries.tolist() == [1]


@pytest.mark.parametrize("side", [128, 160])
def test_every_box_has_a_place_on_each_level(side):
    centres = place_centres(_shapes(side))
    torch.manual_seed(0)
    for _ in range(50):
        box = torch.cat([torch.rand(1, 2) * 0.8 + 0.1, torch.rand(1, 2) * 0.1 + 0.02], 1)
        places, chosen = place_targets(centres, box)
        cells = {round(float(centres[place, 2]), 4) for place in places}
        assert len(cells) == 2 and set(chosen.tolist()) == {0}


def test_a_place_belongs_to_the_smallest_box_around_it():
    boxes = torch.tensor([[0.5, 0.5, 0.9, 0.9], [0.5, 0.5, 0.1, 0.1]])
    places, chosen = place_targets(place_centres(_shapes(128)), boxes)
    owner = dict(zip(places.tolist(), chosen.tolist(), strict=True))
    middle = int((place_centres(_shapes(128))[:256, :2] - 0.5).abs().sum(1).argmin())
    assert owner[middle] == 1 and 0 in owner.values()


def test_no_targets_give_no_places():
    places, chosen = place_targets(place_centres(_shapes(128)), torch.zeros(0, 4))
    assert len(places) == len(chosen) == 0


def test_no_targets_give_places_on_the_device_of_the_boxes():
    meta = torch.zeros(0, 4, device="meta")  # as far from the CPU as a machine without a GPU gets
    assert {each.device.type for each in place_targets(torch.zeros(5, 3, device="meta"), meta)} == {"meta"}


def test_costs_are_paired_on_the_cpu_and_the_pairs_go_back(monkeypatch):
    """A GPU's tensor has no numpy(): as if each were one until cpu() has been called."""
    numpy, cpu, fetched = torch.Tensor.numpy, torch.Tensor.cpu, []

    def fetch(tensor):
        fetched.append(cpu(tensor).clone())
        return fetched[-1]

    def refuse(tensor):
        assert any(tensor is each for each in fetched), "can't convert cuda tensor to numpy"
        return numpy(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", fetch)
    monkeypatch.setattr(torch.Tensor, "numpy", refuse)
    target = Targets(torch.tensor([[0.3, 0.3, 0.2, 0.2]]), torch.ones(1, 2))
    queries, chosen = match(torch.zeros(3, 2), torch.rand(3, 4), target)
    assert len(queries) == len(chosen) == 1 and queries.dtype == torch.int64


def _shapes(side: int) -> list[tuple[int, int]]:
    """Of the tiny detector's levels, at strides 8 and 16."""
    return [(side // stride, side // stride) for stride in (8, 16)]
