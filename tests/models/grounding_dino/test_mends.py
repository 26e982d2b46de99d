import torch
from transformers.models.grounding_dino import modeling_grounding_dino as hf

from valor_ray.models.grounding_dino import mends

CAPTION = [101, 7, 8, 1012, 9, 1012, 10, 11, 12, 1012, 102]


def loops(ids):
    """The original's rule in plain loops: a block is the tokens up to and including a separator."""
    mask = torch.eye(len(ids), dtype=torch.bool)
    places = [0] * len(ids)
    before = 0
    for at, token in enumerate(ids):
        if token not in (101, 102, 1012, 1029):
            continue
        if at not in (0, len(ids) - 1):
            mask[before + 1 : at + 1, before + 1 : at + 1] = True
            places[before + 1 : at + 1] = range(at - before)
        before = at
    return mask, places


def test_blocks_and_places_are_those_of_the_original():
    padded = [101, 20, 21, 1012, 22, 1029, 102, 0, 0, 0, 0]
    masks, places = mends.block_masks(torch.tensor([CAPTION, padded]))
    for row, ids in enumerate((CAPTION, padded)):
        mask, expected = loops(ids)
        assert places[row].tolist() == expected
        # Padding stands alone in ours; the original's loop leaves it alone too.
        assert torch.equal(masks[row], mask)


def test_mends_apply_once_and_stay():
    mends.apply_mends()
    assert mends.apply_mends() == ()
    assert all(mend.right() for mend in mends.MENDS)


def test_text_positions_are_embedded_as_fractions():
    mends.apply_mends()
    embedded = hf.encode_sinusoidal_position_embedding(torch.tensor([[[1]], [[2]]]), num_pos_feats=8)
    assert 0 < embedded.abs().max() <= 1
    assert not torch.equal(embedded, embedded.round())


def test_every_picture_takes_targets_from_its_own_prompt():
    mends.apply_mends()
    loss = mends.hf_loss.GroundingDinoImageLoss(None, 0.25, [])
    maps = tuple(torch.eye(rows, 6, dtype=torch.long) for rows in (2, 4, 3, 5))
    targets = [{"class_labels": torch.tensor([label])} for label in (1, 3, 0, 4)]
    indices = [(torch.tensor([2]), torch.tensor([0]))] * 4
    one_hot = loss._get_target_classes_one_hot(
        {"logits": torch.zeros(4, 3, 6), "label_maps": maps}, targets, indices
    )
    assert one_hot[:, 2].argmax(-1).tolist() == [1, 3, 0, 4]
    assert one_hot.sum() == 4


def test_a_wrong_release_outside_the_known_range_is_refused(monkeypatch):
    monkeypatch.setattr(mends.transformers, "__version__", "5.40.0")
    monkeypatch.setattr(mends, "MENDS", (mends.Mend("places", lambda: False, lambda: None),))
    try:
        mends.apply_mends()
    except mends.CheckpointError as error:
        assert "5.40.0" in str(error) and "5.0-5.19" in str(error)
    else:
        raise AssertionError("a wrong release was accepted")


def test_a_right_release_outside_the_known_range_is_left_alone(monkeypatch):
    touched = []
    monkeypatch.setattr(mends.transformers, "__version__", "5.40.0")
    monkeypatch.setattr(mends, "MENDS", (mends.Mend("places", lambda: True, lambda: touched.append(1)),))
    assert mends.apply_mends() == () and touched == []
