"""Parity with the original GroundingDINO 0.4.0, from the fixture that parity/make_fixture.py wrote."""

import importlib.util

import pytest
import torch
from transformers.models.grounding_dino import modeling_grounding_dino as hf

from valor_ray.errors import CheckpointError
from valor_ray.models.grounding_dino.load import load_detector

LOGITS, BOXES = 1e-3, 1e-4


def test_mended_model_computes_what_the_original_computes(computed, checkpoint, outputs, worst):
    logits, boxes = outputs(load_detector(str(checkpoint)).model.eval())
    assert worst(logits, computed["logits"]) < LOGITS
    assert worst(boxes, computed["boxes"]) < BOXES


@pytest.mark.parametrize(
    "name", ["generate_masks_with_special_tokens_and_transfer_map", "encode_sinusoidal_position_embedding"]
)
def test_without_a_mend_the_outputs_differ(computed, checkpoint, outputs, worst, monkeypatch, name):
    model = load_detector(str(checkpoint)).model.eval()
    # A fresh copy of transformers' module has its functions as they were shipped.
    spec = importlib.util.spec_from_file_location(hf.__name__, hf.__file__)
    shipped = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shipped)
    monkeypatch.setattr(hf, name, getattr(shipped, name))
    logits, _boxes = outputs(model)
    assert worst(logits, computed["logits"]) > 10 * LOGITS


def test_sizes_are_read_off_an_original_file_without_config(seeded, checkpoint):
    from valor_ray.models.grounding_dino.original import hub_layout, read_original, sizes_of

    sizes = sizes_of(hub_layout(read_original(checkpoint)), checkpoint)
    assert sizes["backbone_config"].depths == list(seeded.DEPTHS)
    assert sizes["backbone_config"].num_heads == list(seeded.SWIN_HEADS)
    assert sizes["backbone_config"].window_size == seeded.WINDOW
    assert sizes["backbone_config"].out_indices == [2, 3, 4]
    assert sizes["text_config"].num_hidden_layers == seeded.TEXT_LAYERS
    assert (sizes["d_model"], sizes["num_queries"]) == (seeded.D_MODEL, seeded.QUERIES)
    assert (sizes["encoder_layers"], sizes["decoder_layers"]) == (seeded.LAYERS, seeded.LAYERS)
    assert (sizes["encoder_ffn_dim"], sizes["num_feature_levels"]) == (seeded.FFN, 4)


def test_an_original_file_with_other_keys_is_refused_by_name(checkpoint):
    held = torch.load(checkpoint, weights_only=True)
    held["model"].pop("module.feat_map.bias")
    held["model"]["module.surprise.weight"] = torch.zeros(1)
    changed = checkpoint.with_name("changed.pth")
    torch.save(held, changed)
    with pytest.raises(CheckpointError) as caught:
        load_detector(str(changed))
    assert "1 missing: model.text_projection.bias" in str(caught.value)
    assert "1 unexpected: surprise.weight" in str(caught.value)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "noise.pth").write_bytes(b"not a checkpoint" * 100)
    with pytest.raises(CheckpointError, match=r"noise\.pth"):
        load_detector(str(tmp_path / "noise.pth"))


def test_a_file_without_weights_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_detector(str(tmp_path / "empty.pth"))


def test_an_incomplete_original_file_is_refused(tmp_path):
    torch.save({"model": {"feat_map.bias": torch.zeros(4)}}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match="not a complete"):
        load_detector(str(tmp_path / "part.pth"))
