"""The shipped checkpoint, loaded as the local profile loads it."""

import pytest
from bases import BASES

from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.models.grounding_dino.detector import GroundingDino
from valor_ray.tabletop.pretrain.detector_scenes import render_scenes
from valor_ray.tabletop.pretrain.detector_words import SHAPE_WORDS
from valor_ray.tabletop.pretrain.measure_detector import class_ap, program_boxes
from valor_ray.tabletop.scenes import SPLIT_SEEDS

FIRST = SPLIT_SEEDS["held_out"].start + 50_000


@pytest.fixture(scope="module")
def detector():
    if not (CHECKPOINTS / "detector").exists():
        pytest.skip("no shipped detector: make it with jobs/pretrain_tabletop.py")
    return GroundingDino(Config.load("local", BASES).detector)


@pytest.fixture(scope="module")
def scenes():
    return render_scenes(FIRST, 30, "tiles")


def test_it_finds_the_32_classes_on_a_seen_look(detector, scenes):
    ap50, full = class_ap(detector.model, scenes, detector.input_side)
    assert ap50 > 0.85 and full > 0.7


def test_programs_get_nearly_all_boxes_they_ask_for(detector, scenes):
    kinds = program_boxes(detector, scenes)
    assert kinds["a present class"]["recall"] > 0.85 and kinds["a present class"]["precision"] > 0.85
    assert kinds["object"]["recall"] > 0.85
    assert kinds["object"]["median_height_error"] < 0.05


def test_what_is_never_on_the_table_is_not_found(detector, scenes):
    pictures = [from_array(rgb.copy()) for rgb in scenes.rgb[:20]]
    detections = detector.detect(pictures, [["dog", "coffee-table", "Red Car"]] * len(pictures))
    assert sum(map(len, detections)) <= 2


def test_many_phrases_in_one_call_come_back_as_asked(detector, scenes):
    _boxes, named = scenes.objects(0)
    asked = [f"{colour.upper()}-{SHAPE_WORDS[shape][0]}" for colour, shape in dict.fromkeys(named)]
    (detections,) = detector.detect([from_array(scenes.rgb[0].copy())], [asked])
    assert len({box.label for box in detections} & set(asked)) >= len(asked) - 1
    assert {box.label for box in detections} <= set(asked)
