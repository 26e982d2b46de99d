import pytest
import torch
from transformers.image_transforms import corners_to_center_format

from valor_ray.grounding.dataset.captions import Role, Target, TrainingCaption
from valor_ray.grounding.learner.loss import loss_sums, means
from valor_ray.grounding.learner.targets import CaptionTargets
from valor_ray.models.grounding_dino.losses import Heads

BALL = (10.0, 10.0, 30.0, 30.0)
CAPTION = TrainingCaption(
    (101, 5, 1012, 6, 1012, 102), ("ball", "cube"), ((1, 2), (3, 4)), (Role.POSITIVE, Role.ABSENT),
    (Target(BALL, (0,), ()),), (), (),
)  # fmt: skip
TOKENS, QUERIES, PLACES = 6, 5, 4


def targets(caption: TrainingCaption = CAPTION) -> CaptionTargets:
    return CaptionTargets.of(caption, (100.0, 100.0), TOKENS, elsewhere=0.0)


def heads(scale: float = 0.0, at: int = 2) -> Heads:
    """One query lies on the ball, the others in a corner; logits of the ball's word there are `scale`."""
    right = corners_to_center_format(torch.tensor([BALL]) / 100)[0]
    boxes = torch.full((1, QUERIES, 4), 0.9)
    boxes[..., 2:] = 0.1
    boxes[0, at] = right
    logits = torch.full((1, QUERIES, TOKENS), -scale)
    logits[0, at, 1] = scale
    dense = torch.full((1, PLACES, TOKENS), -scale)
    dense[0, 0, 1] = scale
    places = torch.full((1, PLACES, 4), 0.9)
    places[..., 2:] = 0.1
    places[0, 0] = right
    centres = torch.tensor([[0.2, 0.2, 0.25], [0.8, 0.2, 0.25], [0.2, 0.8, 0.25], [0.8, 0.8, 0.25]])
    return Heads(
        [logits.requires_grad_()], [boxes.requires_grad_()], [], dense.requires_grad_(), places,
        centres, torch.ones(1, TOKENS, dtype=torch.bool), torch.zeros(1, QUERIES, dtype=torch.long),
    )  # fmt: skip


@pytest.mark.parametrize("dense", [True, False])
def test_right_predictions_cost_next_to_nothing(dense: bool) -> None:
    good, bad = (loss_sums(heads(scale), [targets()], dense=dense)[0] for scale in (8.0, 0.0))
    assert set(good) == {"layer0", "dense" if dense else "encoder"}
    for name in good:
        assert float(good[name]) < 0.01 < float(bad[name]), name


def test_what_nobody_knows_has_no_gradient() -> None:
    made = heads()
    sums, counts = loss_sums(made, [targets()], dense=True)
    assert counts == {"targets": 1, "places": 1}
    means(sums, counts)["layer0"].backward()
    gradient = made.logits[0].grad
    assert gradient is not None
    assert gradient[0, 2, 1] < 0  # the matched query should say more of the ball
    others = gradient[0, [0, 1, 3, 4]]
    assert (others[:, 1] == 0).all()  # nobody knows whether a ball is there
    assert (others[:, 3] > 0).all()  # there is no cube


def test_a_caption_without_a_box_is_all_no_and_finite() -> None:
    bare = TrainingCaption(CAPTION.token_ids, ("ball", "cube"), CAPTION.spans, (Role.ABSENT,) * 2, (), (), ())
    for dense in (True, False):
        sums, counts = loss_sums(heads(), [targets(bare)], dense=dense)
        parts = means(sums, counts)
        assert counts["targets"] == 0 and all(torch.isfinite(value) and value > 0 for value in parts.values())


def test_two_groups_have_the_loss_of_one_batch() -> None:
    """Pictures with one and with no box, together and apart."""
    bare = TrainingCaption(CAPTION.token_ids, ("ball", "cube"), CAPTION.spans, (Role.ABSENT,) * 2, (), (), ())
    one, two = heads(1.0), heads(0.5, at=3)
    together = Heads(
        [torch.cat([one.logits[0], two.logits[0]])], [torch.cat([one.boxes[0], two.boxes[0]])], [],
        torch.cat([one.dense_logits, two.dense_logits]), torch.cat([one.dense_boxes, two.dense_boxes]),
        one.centres, torch.cat([one.text_mask, two.text_mask]), torch.cat([one.starts, two.starts]),
    )  # fmt: skip
    for dense in (True, False):
        sums, counts = loss_sums(together, [targets(), targets(bare)], dense=dense)
        whole = means(sums, counts)
        apart = [
            loss_sums(each, [target], dense=dense)
            for each, target in ((one, targets()), (two, targets(bare)))
        ]
        assert counts == {name: apart[0][1][name] + apart[1][1][name] for name in counts}
        for name, value in whole.items():
            parts = [means(sums_of, counts)[name] for sums_of, _count in apart]
            assert float(value) == pytest.approx(float(parts[0] + parts[1]), rel=1e-5), name
