"""The sets of the controls: what becomes of each box and phrase."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from mined import box, mined

from valor_ray.config.grounding import GroundingConfig
from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.training import TrainingImage, training_images
from valor_ray.records import BOX_CHECKS, MinedImage
from valor_ray.tabletop.finetune.controls.sets import (
    CONTROL_SETS,
    OBJECTS,
    Mined,
    random_verifier,
    read_mined,
    write_control_set,
)

BALL, CUBE, FAR, NEAR_BALL = (10, 20, 60, 70), (80, 20, 130, 70), (140, 30, 190, 80), (20, 25, 66, 74)
PHRASES = ("red ball", "blue cube", "green cone", "cube behind the ball", "white dog")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A picture with a box for each way through the checks, and one of which all was refused."""
    boxes = (
        box("kkk", "red ball", BALL, score=0.9),
        box("kkd", "red ball", NEAR_BALL, score=0.5),
        box("kd", "red ball", FAR, score=0.36),
        box("u", "blue cube", CUBE, score=0.3),
        box("d", "blue cube", FAR, score=0.2),
        box("m", "cube behind the ball", CUBE, score=0.4),
    )
    first = mined(tmp_path / "data" / "lamp-1.png", *boxes, phrases=PHRASES)
    first = replace(first, presence={"green cone": "absent", "blue cube": "unsure"})
    other = mined(
        tmp_path / "data" / "quilt-2.png", box("d", "red ball", BALL, score=0.2), phrases=("red ball",)
    )
    run = tmp_path / "run"
    (run / OBJECTS).parent.mkdir(parents=True)
    (run / "images.jsonl").write_text(
        "".join(json.dumps(image.to_record()) + "\n" for image in (first, replace(other, key="other")))
    )
    things = [
        {"bbox": BALL, "colour": "red", "shape": "ball", "visible": 1.0},
        {"bbox": CUBE, "colour": "blue", "shape": "box", "visible": 0.9},
        {"bbox": (0, 0, 5, 5), "colour": "green", "shape": "cone", "visible": 0.1},
    ]
    rows = ({"image": "lamp-1.png", "objects": things}, {"image": "quilt-2.png", "objects": things[:1]})
    (run / OBJECTS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def written(name: str, run: Path, seed: int = 0) -> list[TrainingImage]:
    out = run / "sets" / name
    write_control_set(name, read_mined(run), out, GroundingConfig(), seed=seed)
    return list(training_images(out))


def pairs(regions) -> set[tuple]:
    return {(each.phrase, each.bbox) for each in regions}


def test_self_training_takes_its_own_surer_boxes_and_knows_no_negative(run: Path) -> None:
    (only,) = written("self_training", run)
    assert pairs(only.positives) == {
        ("red ball", BALL), ("red ball", NEAR_BALL), ("red ball", FAR), ("cube behind the ball", CUBE)
    }  # fmt: skip
    assert only.absent == () and only.hard_negatives == ()
    assert {each.why for each in only.ignored} == {"no verdict"} and len(only.ignored) == 2


def test_true_boxes_are_exact_and_refuse_what_is_on_nothing(run: Path) -> None:
    first, second = written("true_boxes", run)
    assert pairs(first.positives) == {("red ball", BALL), ("blue cube", CUBE)}
    assert pairs(first.hard_negatives) == {("red ball", FAR), ("blue cube", FAR)}
    assert first.absent == ("white dog",)  # a cone is there, though hardly to be seen
    assert first.ignored == ()
    assert pairs(second.positives) == {("red ball", BALL)} and second.hard_negatives == ()


def test_true_boxes_need_rendered_scenes(run: Path) -> None:
    (run / OBJECTS).unlink()
    with pytest.raises(ConfigError, match="only rendered scenes have"):
        written("true_boxes", run)


@pytest.mark.parametrize(
    ("name", "positives"),
    [
        ("without_duplicates", {("red ball", BALL), ("red ball", NEAR_BALL)}),
        ("without_crop", {("red ball", BALL), ("red ball", FAR)}),
        (
            "without_coarse",
            {("red ball", BALL), ("blue cube", CUBE), ("blue cube", FAR), ("cube behind the ball", CUBE)},
        ),
    ],
)
def test_a_stage_left_out_says_yes_to_all_that_reached_it(run: Path, name: str, positives: set) -> None:
    images = written(name, run)
    assert pairs(images[0].positives) == positives
    assert images[0].absent == ("green cone",)
    assert len(images) == (2 if name == "without_coarse" else 1)


def test_the_real_verdicts_are_none_of_the_controls(run: Path) -> None:
    """Each control changes something, so none of the tests above passes on mining's own set."""
    real = read_mined(run)
    for name, control in CONTROL_SETS.items():
        assert [image.boxes for image in control(real, 0)] != [image.boxes for image in real.images], name


def many(count: int) -> Mined:
    ways = ("kkk", "kkd", "kd", "d", "u", "ku", "m", "kkk")
    images = tuple(
        MinedImage(
            f"{n}.png", f"{n}", 99, 99, ("q",), ("red ball",),
            tuple(box(ways[(n + k) % len(ways)], bbox=(k, k, k + 9, k + 9)) for k in range(n % 5)),
            presence={"red ball": ("absent", "present", "absent")[n % 3]} if n % 5 == 0 else {},
        )
        for n in range(count)
    )  # fmt: skip
    return Mined(images, {})


def outcomes(images) -> Counter:
    boxes = [each for image in images for each in image.boxes]
    return Counter(tuple((said.kept, said.unsure) for said in each.decisions) for each in boxes)


def test_a_random_verifier_says_yes_as_often_at_each_stage_and_to_others() -> None:
    real = many(60)
    made = list(random_verifier(real, 1))
    for stage in BOX_CHECKS:
        before, after = (
            Counter((said.kept, said.unsure) for image in images for each in image.boxes
                    for said in each.decisions if said.stage is stage)
            for images in (real.images, made)
        )  # fmt: skip
        assert before == after
    kept = [[each.kept for image in images for each in image.boxes] for images in (real.images, made)]
    assert kept[0].count(True) == kept[1].count(True) and kept[0] != kept[1]
    assert outcomes(made) == outcomes(real.images)


def test_a_random_verifier_says_absent_as_often_of_phrases_that_have_no_box_now() -> None:
    made = list(random_verifier(many(600), 1))
    for image in made:
        assert bool(image.presence) == all(each.kept is False and not each.unsure for each in image.boxes)
    said = Counter(verdict for image in made for verdict in image.presence.values())
    assert said["absent"] / said.total() == pytest.approx(2 / 3, abs=0.08) and said.total() > 100


def test_a_random_verifier_is_its_seed() -> None:
    real = many(30)
    assert list(random_verifier(real, 1)) == list(random_verifier(real, 1))
    assert list(random_verifier(real, 1)) != list(random_verifier(real, 2))


def test_a_folder_without_mined_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no mined pictures"):
        read_mined(tmp_path)
