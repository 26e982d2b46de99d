"""The rules at the head of dataset/training.py, one by one, as weights of "no"."""

import pytest
import torch
from transformers.image_transforms import corners_to_center_format

from valor_ray.grounding.dataset.captions import Marked, Role, Target, TrainingCaption
from valor_ray.grounding.learner.targets import CaptionTargets, iou

BALL, CUBE, CONE, SOFA = (10, 10, 30, 30), (60, 60, 90, 90), (10, 60, 30, 90), (60, 10, 90, 40)
PHRASES = ("ball", "cube", "unicorn", "table", "red ball")
# ball: confirmed; cube: refused at CUBE; unicorn: absent; table: of another picture; red ball: may name the ball
CAPTION = TrainingCaption(
    tuple(range(13)),
    PHRASES,
    ((1, 2), (3, 4), (5, 6), (7, 8), (9, 11)),
    (Role.POSITIVE, Role.HARD, Role.ABSENT, Role.FURTHER, Role.POSITIVE),
    (Target(BALL, (0,), (4,)),),
    (Marked(CUBE, 1),),
    (Marked(CONE, 0),),
)


def targets(**more) -> CaptionTargets:
    return CaptionTargets.of(CAPTION, (100.0, 100.0), 13, **{"elsewhere": 0.0, **more})


def weight(box, phrase: str, **more) -> float:
    start, stop = CAPTION.spans[PHRASES.index(phrase)]
    relative = corners_to_center_format(torch.tensor([box], dtype=torch.float32) / 100)
    weights = targets(**more).free(relative)[0, start:stop]
    assert len(set(weights.tolist())) == 1
    return weights[0].item()


def test_of_a_target_its_names_are_wanted_and_possible_names_left_out():
    made = targets()
    assert made.tokens[0].nonzero()[:, 0].tolist() == [1]
    assert (made.known[0] == 0).nonzero()[:, 0].tolist() == [9, 10]
    assert made.boxes[0].tolist() == pytest.approx([0.2, 0.2, 0.2, 0.2])


@pytest.mark.parametrize(
    ("box", "phrase", "expected"),
    [
        (SOFA, "unicorn", 1),  # absent: wrong wherever it is
        (BALL, "unicorn", 1),
        (CUBE, "cube", 1),  # a hard negative
        (SOFA, "cube", 0),  # elsewhere nobody knows
        (BALL, "ball", 1),  # another prediction has the target
        (BALL, "cube", 1),  # a ball is no cube
        (BALL, "red ball", 0),  # but may be a red ball
        (BALL, "table", 1),  # a phrase of other pictures is wrong at a target
        (SOFA, "table", 0),
        (CONE, "ball", 0),  # an ignored region
        (SOFA, "ball", 0),  # nobody has looked: not background
    ],
)
def test_rule(box, phrase: str, expected: float) -> None:
    assert weight(box, phrase) == expected


def test_in_a_complete_set_all_else_is_background_but_ignored_regions():
    assert weight(SOFA, "ball", elsewhere=1.0) == 1
    assert weight(CONE, "ball", elsewhere=1.0) == 0
    assert weight(SOFA, "table", elsewhere=1.0) == 0


def test_without_hard_negatives_a_refused_box_is_not_known():
    assert weight(CUBE, "cube", hard=False) == 0


def test_separators_are_never_wanted():
    assert targets().free(torch.tensor([[0.75, 0.25, 0.3, 0.3]]))[0, [0, 2, 4, 12]].tolist() == [1, 1, 1, 1]


def test_a_mirrored_picture_has_mirrored_boxes():
    made = targets(mirrored=True)
    assert made.boxes[0].tolist() == pytest.approx([0.8, 0.2, 0.2, 0.2])
    assert made.refused[0].tolist() == pytest.approx([0.25, 0.75, 0.3, 0.3])


def test_a_caption_without_any_box():
    bare = TrainingCaption((101, 5, 1012, 102), ("unicorn",), ((1, 2),), (Role.ABSENT,), (), (), ())
    made = CaptionTargets.of(bare, (100.0, 100.0), 6, elsewhere=0.0)
    assert made.boxes.shape == (0, 4) and made.free(torch.full((3, 4), 0.5)).shape == (3, 6)


def test_iou_of_known_boxes():
    a = torch.tensor([[0.5, 0.5, 0.2, 0.2]])
    b = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.6, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1]])
    assert iou(a, b)[0].tolist() == pytest.approx([1, 1 / 3, 0])
