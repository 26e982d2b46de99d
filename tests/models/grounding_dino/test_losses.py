import pytest
import torch

from valor_ray.models.grounding_dino.losses import Targets, giou, match, place_targets
from valor_ray.tabletop.pretrain.detector import place_centres


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
    centres = place_centres(side)
    torch.manual_seed(0)
    for _ in range(50):
        box = torch.cat([torch.rand(1, 2) * 0.8 + 0.1, torch.rand(1, 2) * 0.1 + 0.02], 1)
        places, chosen = place_targets(centres, box)
        cells = {round(float(centres[place, 2]), 4) for place in places}
        assert len(cells) == 2 and set(chosen.tolist()) == {0}


def test_a_place_belongs_to_the_smallest_box_around_it():
    boxes = torch.tensor([[0.5, 0.5, 0.9, 0.9], [0.5, 0.5, 0.1, 0.1]])
    places, chosen = place_targets(place_centres(128), boxes)
    owner = dict(zip(places.tolist(), chosen.tolist(), strict=True))
    middle = int((place_centres(128)[:256, :2] - 0.5).abs().sum(1).argmin())
    assert owner[middle] == 1 and 0 in owner.values()


def test_no_targets_give_no_places():
    places, chosen = place_targets(place_centres(128), torch.zeros(0, 4))
    assert len(places) == len(chosen) == 0
