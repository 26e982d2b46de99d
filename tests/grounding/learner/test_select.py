"""The choice of the weights: by held-back boxes, then by the gate; nothing passes: nothing is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_set import general, settings, tiny_set

from valor_ray.grounding.dataset.negatives import Region
from valor_ray.grounding.gate.coco_map import GeneralScore
from valor_ray.grounding.gate.general import GeneralSet, read_general
from valor_ray.grounding.learner import select as module
from valor_ray.grounding.learner.held_back import HeldBackScore, held_back_ap
from valor_ray.grounding.learner.learn import LearnTask, learn
from valor_ray.grounding.learner.select import BASELINE, select
from valor_ray.models.grounding_dino.detector import GroundingDino


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> LearnTask:
    folder = tmp_path_factory.mktemp("select")
    task = LearnTask(settings(), tiny_set(folder / "set"), None, folder / "run")
    learn(task, lambda line: None, lambda record: None)
    return task


@pytest.fixture
def task(learnt: LearnTask, tmp_path: Path) -> LearnTask:
    """A run of its own, which has learnt."""
    (tmp_path / "averaged").symlink_to(learnt.run / "averaged")
    return replace(learnt, run=tmp_path)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> GeneralSet:
    return read_general(general(tmp_path_factory.mktemp("general")), None, None)


def scripted(
    monkeypatch: pytest.MonkeyPatch, maps: dict[str, float], ap50: dict[str, float], error: float = 20
) -> None:
    """By the folder that a detector was loaded from."""

    def score(detector: GroundingDino, labelled: GeneralSet, say) -> GeneralScore:
        value = maps[Path(detector.config.model).name.removeprefix("alpha-")]
        return GeneralScore(value, value, {"red box": value}, 3)

    def held(detector: GroundingDino, images, limits) -> HeldBackScore:
        value = ap50[Path(detector.config.model).name.removeprefix("alpha-")]
        return HeldBackScore(value, error, value, 1, 2)

    monkeypatch.setattr(module, "general_map", score)
    monkeypatch.setattr(module, "held_back_ap", held)


START = "tabletop:detector"


@pytest.mark.parametrize(
    ("maps", "alpha"),
    [
        ({START: 50, "0.5": 49.9, "1": 49.8}, 1.0),  # both keep to the goal: the larger
        ({START: 50, "0.5": 49.8, "1": 49.2}, 0.5),  # only the smaller does
        ({START: 50, "0.5": 49.3, "1": 49.2}, 0.5),  # none does: the one that loses least within the limit
        ({START: 50, "0.5": 49.2, "1": 49.3}, 1.0),
        ({START: 50, "0.5": 49.3, "1": 40}, 0.5),
        ({START: 50, "0.5": 48.9, "1": 40}, None),
    ],
)
def test_the_share_is_chosen_by_held_back_boxes_and_gate(
    task: LearnTask, labelled: GeneralSet, monkeypatch: pytest.MonkeyPatch, maps: dict, alpha: float | None
) -> None:
    scripted(monkeypatch, maps, {START: 20, "0.5": 30, "1": 40})
    made = select(task, labelled, lambda line: None)
    assert (made.alpha, made.passed) == (alpha, alpha is not None)
    assert [row["alpha"] for row in made.held_back] == [0, 0.5, 1]
    assert (task.run / "chosen").exists() is made.passed and not (task.run / "candidates").exists()
    assert select(task, labelled, lambda line: pytest.fail("done again")) == made


def test_a_share_that_is_surely_worse_on_held_back_boxes_is_not_tried(
    task: LearnTask, labelled: GeneralSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, {START: 50, "0.5": 50, "1": 50}, {START: 20, "0.5": 45, "1": 40}, error=4)
    made = select(task, labelled, lambda line: None)
    assert made.alpha == 0.5 and made.general["0.5"] == {"map": 50} and "1" not in made.general


def test_weights_that_find_less_than_the_start_are_not_kept_whatever_the_gate_says(
    task: LearnTask, labelled: GeneralSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, {START: 50, "0.5": 60, "1": 60}, {START: 45, "0.5": 44, "1": 40})
    made = select(task, labelled, lambda line: None)
    assert (made.alpha, made.passed, made.weights) == (None, False, None) and "fewer" in made.words
    assert made.general["1"] == {"map": 60}


def test_in_a_second_round_the_loss_counts_from_the_first_start(
    task: LearnTask, labelled: GeneralSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scripted(monkeypatch, {START: 50, "0.5": 49.5, "1": 49.5}, {START: 20, "0.5": 30, "1": 40})
    first = select(task, labelled, lambda line: None)
    assert (
        first.weights is not None and json.loads((first.weights / BASELINE).read_text())["score"]["map"] == 50
    )
    second = settings(f"detector.model={first.weights}")
    again = replace(task, config=second, run=tmp_path / "second")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "averaged").symlink_to(task.run / "averaged")
    scripted(monkeypatch, {"chosen": 49.5, "0.5": 48.9, "1": 48.8}, {"chosen": 20, "0.5": 30, "1": 40})
    made = select(again, labelled, lambda line: None)
    assert not made.passed and "50.00 → 48.80" in made.words


def test_with_real_scores(task: LearnTask, labelled: GeneralSet) -> None:
    made = select(replace(task, config=settings("finetune.gate_limit=100")), labelled, lambda line: None)
    assert made.passed and made.weights is not None and made.general["start"]["pictures"] == 3
    assert GroundingDino(settings(f"detector.model={made.weights}").detector)


def test_an_open_phrase_costs_nothing_on_held_back_pictures(learnt: LearnTask) -> None:
    from valor_ray.grounding.dataset.training import training_images

    detector = GroundingDino(learnt.config.detector)
    images = [replace(image, hard_negatives=(), absent=()) for image in training_images(learnt.dataset)]
    other = {"red box": "blue box", "blue box": "green box", "green box": "red box"}
    far = (80.0, 80.0, 95.0, 95.0)
    asked = [
        replace(image, hard_negatives=(Region(far, other[image.positives[0].phrase]),)) for image in images
    ]
    opened = [replace(image, open=(other[image.positives[0].phrase],)) for image in asked]
    plain, closed, free = (
        held_back_ap(detector, each, learnt.config.images) for each in (images, asked, opened)
    )
    assert free == plain and closed.ap50 <= plain.ap50


def test_held_back_ap_of_a_detector_that_sees_all(learnt: LearnTask) -> None:
    from valor_ray.grounding.dataset.training import training_images

    images = list(training_images(learnt.dataset))
    score = held_back_ap(GroundingDino(learnt.config.detector), images, learnt.config.images)
    assert (score.pictures, score.boxes) == (6, 6) and 0 <= score.map <= score.ap50 <= 100
    assert score.ap50 > 20  # flat boxes are not what it was trained on
