"""Original-format files that we write: the inverse of reading them, and what the original computes from them.

The last tests run groundingdino-py, which needs an environment of its own: parity/make_fixture.py says how it is made.
They look for it in .venv-oracle, or where VALOR_ORACLE_PYTHON names its interpreter.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GroundingDinoForObjectDetection, ResNetConfig

from valor_ray.errors import CheckpointError, StorageError
from valor_ray.models.grounding_dino import to_original
from valor_ray.models.grounding_dino.load import load_detector
from valor_ray.models.grounding_dino.original import IGNORED, hub_layout, read_original
from valor_ray.models.grounding_dino.to_original import original_layout, save_original
from valor_ray.tabletop.pretrain.detector_model import detector_processor

ORACLE = Path(os.environ.get("VALOR_ORACLE_PYTHON", Path(__file__).parents[3] / ".venv-oracle/bin/python"))
RUN_ORIGINAL = Path(__file__).parent / "parity" / "run_original.py"
LOGITS, BOXES = 1e-3, 1e-4


@pytest.fixture
def random_model(seeded, small_config):
    """Every weight drawn: an untrained model's zeros would hide a lost or swapped one."""
    model = GroundingDinoForObjectDetection(small_config())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(torch.from_numpy(seeded.tensor(f"ours {name}", tuple(weight.shape))))
    return model


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_an_original_that_is_loaded_and_written_is_the_same(checkpoint, original_state, tmp_path):
    save_original(load_detector(str(checkpoint)).model, tmp_path / "new" / "written.pth")
    held = torch.load(tmp_path / "new" / "written.pth", weights_only=True)
    assert set(held) == {"model"}
    same(held["model"], {name: value for name, value in original_state.items() if not IGNORED.search(name)})
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["written.pth"]


def test_what_is_left_out_is_what_the_original_makes_itself(original_state):
    left_out = {name for name in original_state if IGNORED.search(name)}
    assert left_out == {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}


def test_our_model_survives_the_way_there_and_back(random_model, outputs, tmp_path):
    random_model.config.save_pretrained(tmp_path)
    detector_processor(128).save_pretrained(tmp_path)
    save_original(random_model, tmp_path / "written.pth")
    logits, boxes = outputs(load_detector(str(tmp_path / "written.pth")).model)
    expected = outputs(random_model)
    assert np.array_equal(logits, expected[0]) and np.array_equal(boxes, expected[1])


def test_box_heads_of_their_own_for_each_layer_are_kept_apart(small_config, tmp_path):
    model = GroundingDinoForObjectDetection(small_config(decoder_bbox_embed_share=False))
    save_original(model, tmp_path / "written.pth")
    written = read_original(tmp_path / "written.pth")
    for layer in (0, 1):
        ours = model.bbox_embed[layer].layers[0].weight
        for name in ("bbox_embed", "transformer.decoder.bbox_embed"):
            assert torch.equal(written[f"{name}.{layer}.layers.0.weight"], ours)
    assert not torch.equal(written["bbox_embed.0.layers.0.weight"], written["bbox_embed.1.layers.0.weight"])


def test_the_layouts_are_inverse_to_each_other_key_by_key(original_state, seeded):
    state = {name: value for name, value in original_state.items() if not IGNORED.search(name)}
    hub = hub_layout(state)
    assert not set(hub) & set(state) - {name for name in hub if name.startswith("bbox_embed.")}
    same(original_layout(hub, seeded.LAYERS), state)


def test_another_backbone_has_no_original_layout(small_config, tmp_path):
    config = small_config()
    config.backbone_config = ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 64], depths=[1, 1, 1], layer_type="basic", out_indices=[2, 3]
    )
    config.num_feature_levels = 2
    with pytest.raises(CheckpointError, match="resnet backbone"):
        save_original(GroundingDinoForObjectDetection(config), tmp_path / "written.pth")
    assert list(tmp_path.iterdir()) == []


def test_weights_without_a_place_are_named_and_nothing_is_written(small_config, tmp_path):
    model = GroundingDinoForObjectDetection(small_config(position_embedding_type="learned"))
    with pytest.raises(CheckpointError, match=r"2 weights have no place.*column_embeddings"):
        save_original(model, tmp_path / "written.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(random_model, tmp_path, monkeypatch):
    old = tmp_path / "written.pth"
    old.write_bytes(b"old")

    def full(_state, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("[enforce fail] unexpected pos 64 vs 0")

    monkeypatch.setattr(to_original.torch, "save", full)
    with pytest.raises(StorageError, match=r"written\.pth"):
        save_original(random_model, old)
    assert old.read_bytes() == b"old" and list(tmp_path.iterdir()) == [old]


needs_oracle = pytest.mark.skipif(
    not ORACLE.is_file(), reason=f"no groundingdino-py: {ORACLE} is not there (parity/make_fixture.py)"
)


def computed_by_the_original(checkpoint, folder):
    written = folder / "original.npz"
    done = subprocess.run(
        [str(ORACLE), "-W", "ignore", str(RUN_ORIGINAL), str(checkpoint), str(written)],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(written) as held:
        return dict(held)


@needs_oracle
@pytest.mark.timeout(300)
def test_the_original_computes_our_outputs_from_our_file(random_model, outputs, worst, tmp_path):
    random_model.save_pretrained(tmp_path / "hub")
    detector_processor(128).save_pretrained(tmp_path / "hub")
    ours = load_detector(str(tmp_path / "hub")).model
    save_original(ours, tmp_path / "written.pth")
    theirs = computed_by_the_original(tmp_path / "written.pth", tmp_path)
    assert list(theirs["unexpected"]) == []
    assert all(IGNORED.search(name) for name in theirs["missing"])
    logits, boxes = outputs(ours)
    apart = worst(logits, theirs["logits"]), worst(boxes, theirs["boxes"])
    print(f"largest difference to groundingdino-py: logits {apart[0]:.1e}, boxes {apart[1]:.1e}")
    assert apart[0] < LOGITS and apart[1] < BOXES


@needs_oracle
@pytest.mark.timeout(300)
def test_the_original_computes_something_else_from_keys_and_values_swapped(
    random_model, outputs, worst, tmp_path
):
    save_original(random_model, tmp_path / "written.pth")
    state = read_original(tmp_path / "written.pth")
    name = "transformer.decoder.layers.1.ca_text.in_proj_weight"
    query, key, value = state[name].chunk(3)
    torch.save({"model": state | {name: torch.cat([query, value, key])}}, tmp_path / "swapped.pth")
    theirs = computed_by_the_original(tmp_path / "swapped.pth", tmp_path)
    assert worst(outputs(random_model)[0], theirs["logits"]) > 10 * LOGITS
