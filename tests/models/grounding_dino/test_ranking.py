"""Ranked boxes: on a network that says what a test wants, and on the shipped one against pre-training's measure."""

from types import SimpleNamespace

import numpy as np
import pytest
from bases import BASES

from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.measure.detection_ap import Boxes, mean_ap
from valor_ray.models.grounding_dino.detector import GroundingDino, Scored
from valor_ray.models.grounding_dino.phrases import Caption
from valor_ray.models.grounding_dino.ranking import rank
from valor_ray.tabletop.pretrain.detector_scenes import render_scenes
from valor_ray.tabletop.pretrain.detector_words import SHAPE_WORDS, every_class
from valor_ray.tabletop.pretrain.measure_detector import class_ap
from valor_ray.tabletop.scenes import SPLIT_SEEDS

PICTURE = from_array(np.zeros((60, 80, 3), np.uint8))
# "red cube" and "ball" in one caption, "cube" in another: three queries, the last of which lies over the edge
FIRST = Caption((101, 1, 2, 1012, 3, 1012, 102), ("red cube", "ball"), ((1, 3), (4, 5)))
SECOND = Caption((101, 2, 1012, 102), ("cube",), ((1, 2),))
BOXES = np.array([[0, 0, 10, 10], [5, 5, 20, 20], [70, 50, 90, 70]], np.float32)
CHANCES = np.array([[0, 0.8, 0.2, 0, 0.6, 0, 0], [0, 0.1, 0.1, 0, 0.9, 0, 0], [0] * 7], np.float32)


def says(*scored: Scored) -> SimpleNamespace:
    return SimpleNamespace(score=lambda pictures, phrases: iter(scored))


def test_a_query_stands_under_every_phrase_and_captions_are_ranked_together() -> None:
    other = np.array([[0, 0.7, 0, 0], [0, 0.009, 0, 0], [0, 0.3, 0, 0]], np.float32)
    network = says(Scored(0, SECOND, other, BOXES), Scored(0, FIRST, CHANCES, BOXES))
    (ranked,) = rank(network, [PICTURE], ["red cube", "cube", "ball"])
    assert ranked.places.tolist() == [2, 1, 2, 0, 1, 0]
    assert np.allclose(
        ranked.scores, [0.9, 0.7, 0.6, 0.5, 0.3, 0.1]
    )  # the mean over tokens; 0.009 is left out
    assert ranked.boxes[4].tolist() == [70, 50, 80, 60]  # clipped
    (two,) = rank(says(Scored(0, FIRST, CHANCES, BOXES)), [PICTURE], ["red cube", "cube", "ball"], most=2)
    assert two.places.tolist() == [2, 2] and two.boxes.tolist() == BOXES[[1, 0]].tolist()


def test_no_phrase_and_no_picture_give_no_boxes() -> None:
    (none,) = rank(says(), [PICTURE], [])
    assert none.boxes.shape == (0, 4) and len(none.scores) == len(none.places) == 0
    assert rank(says(), [], ["ball"]) == []


@pytest.fixture(scope="module")
def detector():
    if not (CHECKPOINTS / "detector").exists():
        pytest.skip("no shipped detector: make it with jobs/pretrain_tabletop.py")
    return GroundingDino(Config.load("local", BASES).detector)


def test_the_figures_are_those_of_pre_training(detector) -> None:
    scenes, phrases = render_scenes(SPLIT_SEEDS["held_out"].start, 16, "lamp"), every_class()
    ranked = rank(detector, [from_array(rgb.copy()) for rgb in scenes.rgb], phrases)
    guessed: list[list[Boxes]] = [[] for _ in phrases]
    true: list[list[Boxes]] = [[] for _ in phrases]
    for index, each in enumerate(ranked):
        boxes, named = scenes.objects(index)
        kinds = np.array([phrases.index(f"{colour} {SHAPE_WORDS[shape][0]}") for colour, shape in named])
        for place in range(len(phrases)):
            guessed[place].append(Boxes(each.boxes[each.places == place], each.scores[each.places == place]))
            true[place].append(Boxes(boxes[kinds == place], np.ones(int((kinds == place).sum()))))
    expected = class_ap(detector.model, scenes, detector.input_side)
    assert mean_ap(guessed, true) == pytest.approx(expected, abs=0.002)
    assert 0.4 < expected[0] < 0.9


def test_a_picture_is_ranked_alike_alone_and_among_pictures_of_other_sizes(detector) -> None:
    rng = np.random.default_rng(0)
    sides = [(60, 80), (90, 60), (60, 80), (60, 80)]
    pictures = [from_array(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sides]
    together = rank(detector, pictures, ["red cube", "Ball", "object"], most=20)
    for picture, ranked in zip(pictures, together, strict=True):
        (alone,) = rank(detector, [picture], ["red cube", "Ball", "object"], most=20)
        assert np.allclose(alone.scores, ranked.scores, atol=1e-4)
        assert (np.diff(ranked.scores) <= 0).all() and set(ranked.places.tolist()) <= {0, 1, 2}
