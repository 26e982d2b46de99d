"""The adapter and its loader on a small checkpoint made on the spot (random weights)."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from valor_ray.config.models import DetectorConfig
from valor_ray.errors import CheckpointError
from valor_ray.images import from_array
from valor_ray.models.grounding_dino.detector import GroundingDino
from valor_ray.tabletop.pretrain.detector_model import frozen_copy, new_detector, save_detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("detector")
    save_detector(frozen_copy(new_detector().state_dict()), 64, made)
    return made


@pytest.fixture(scope="module")
def detector(folder):
    return GroundingDino(DetectorConfig(model=str(folder), max_batch=3))


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def picture(width, height, seed=0):
    return from_array(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def load(folder):
    return GroundingDino(DetectorConfig(model=str(folder)))


def test_each_picture_gets_boxes_of_its_own_phrases(detector):
    pictures = [picture(80, 60), picture(60, 90, 1), picture(80, 60, 2)]
    detections = detector.detect(pictures, [["Red-Cube", "ball"], [], ["TV"]], box_threshold=0)
    assert {box.label for box in detections[0]} <= {"Red-Cube", "ball"} and detections[0]
    assert detections[1] == []
    assert {box.label for box in detections[2]} == {"TV"}
    for image, boxes in zip(pictures, detections, strict=True):
        assert boxes == sorted(boxes, key=lambda box: -box.score)
        for box in boxes:
            x1, y1, x2, y2 = box.bbox
            assert 0 <= x1 < x2 <= image.width and 0 <= y1 < y2 <= image.height


def test_a_picture_gets_the_same_boxes_alone_and_in_a_batch(detector):
    pictures = [picture(80, 60, seed) for seed in range(5)]
    asked = [["red cube"], ["ball", "green cone"], ["object"], ["red cube", "dog"], ["cone"]]
    together = detector.detect(pictures, asked, box_threshold=0)
    for image, phrases, boxes in zip(pictures, asked, together, strict=True):
        (alone,) = detector.detect([image], [phrases], box_threshold=0)
        # Scores that nearly tie may change places: compare as sets of rounded boxes.
        assert len(alone) == len(boxes)
        np.testing.assert_allclose([box.score for box in alone], [box.score for box in boxes], atol=1e-4)


def test_pictures_of_other_sizes_do_not_change_a_pictures_boxes(detector):
    pictures = [picture(80, 60), picture(60, 90, 1), picture(300, 60, 2), picture(80, 60, 3)]
    together = detector.detect(pictures, [["red cube"]] * 4, box_threshold=0)
    for image, boxes in zip(pictures, together, strict=True):
        (alone,) = detector.detect([image], [["red cube"]], box_threshold=0)
        np.testing.assert_allclose([box.score for box in alone], [box.score for box in boxes], atol=1e-4)
        np.testing.assert_allclose(
            sorted(box.bbox for box in alone), sorted(box.bbox for box in boxes), atol=0.1
        )


def test_the_configured_threshold_holds_unless_told_otherwise(detector):
    assert detector.detect([picture(80, 60)], [["red cube"]], box_threshold=1.0) == [[]]


def test_more_phrases_than_fit_one_caption_are_all_asked(detector):
    phrases = [f"{first}{second} toy" for first in "abcdefghij" for second in "klmnopq"]
    captions = detector.captions(phrases)
    assert len(captions) > 1
    assert [phrase for caption in captions for phrase in caption.phrases] == phrases
    assert len(detector.detect([picture(80, 60)], [phrases], box_threshold=0)) == 1


@pytest.mark.parametrize(("width", "height"), [(2, 2), (400, 4), (3, 300), (1, 1), (1000, 10)])
def test_odd_shapes_of_pictures_are_accepted(detector, width, height):
    (detections,) = detector.detect([picture(width, height)], [["object"]], box_threshold=0)
    assert all(0 <= box.bbox[0] <= box.bbox[2] <= width for box in detections)


def test_a_very_long_phrase_is_accepted(detector):
    (detections,) = detector.detect([picture(80, 60)], [["red cube " * 300]], box_threshold=0)
    assert {box.label for box in detections} <= {"red cube " * 300}


def test_image_side_changes_the_size_that_the_model_sees(folder):
    detector = GroundingDino(DetectorConfig(model=str(folder), image_side=96))
    seen = []
    detector.model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(tuple(kwargs["pixel_values"].shape[2:])), with_kwargs=True
    )
    detector.detect([picture(80, 60)], [["ball"]])
    assert seen == [(96, 128)]


def test_a_folder_without_weights_is_named(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(copied)


def test_a_missing_shard_is_named(copied):
    state = load_file(copied / "model.safetensors")
    names = sorted(state)
    save_file({name: state[name] for name in names[:100]}, copied / "model-00001-of-00002.safetensors")
    index = {
        "metadata": {},
        "weight_map": {
            name: f"model-0000{1 if name in names[:100] else 2}-of-00002.safetensors" for name in names
        },
    }
    (copied / "model.safetensors").unlink()
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="model-00002-of-00002"):
        load(copied)


def test_cut_weights_are_named(copied):
    whole = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(copied)


def test_missing_unexpected_and_misshapen_keys_are_named(copied):
    state = load_file(copied / "model.safetensors")
    del state["model.text_projection.weight"]
    state["model.extra.weight"] = torch.zeros(2)
    state["model.level_embed"] = torch.zeros(2, 32)
    save_file(state, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        load(copied)
    message = str(caught.value)
    assert "1 missing: model.text_projection.weight" in message
    assert "1 unexpected: model.extra.weight" in message
    assert "1 of another shape: model.level_embed" in message


def test_a_folder_without_config_is_refused(copied):
    (copied / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(copied)


def test_a_tokenizer_with_other_separators_is_refused(copied):
    held = json.loads((copied / "tokenizer.json").read_text())
    words = held["model"]["vocab"]
    words["."], words["?"] = words["?"], words["."]
    (copied / "tokenizer.json").write_text(json.dumps(held))
    with pytest.raises(CheckpointError, match="1012"):
        load(copied)
