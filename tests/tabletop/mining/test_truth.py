"""What phrases name in rendered scenes, and the figures of a mining run over them."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from valor_ray.errors import ConfigError
from valor_ray.records import BOX_CHECKS, BBox, BoxDecision, CheckedBox, MinedImage
from valor_ray.tabletop.mining.truth import evaluate_mining, read_phrase
from valor_ray.tabletop.pretrain.detector_words import SHAPE_WORDS, matches, plural
from valor_ray.tabletop.scenes import COLOURS, SHAPES

RED_BALL: BBox = (10, 10, 50, 50)
RED_BOX: BBox = (100, 10, 160, 90)
BLUE_BALL: BBox = (10, 120, 60, 170)
HIDDEN: BBox = (200, 200, 210, 230)


def checked(bbox: BBox, label: str, score: float, said: str = "kkk") -> CheckedBox:
    verdicts = {"k": True, "d": False, "m": None}
    decisions = (BoxDecision(stage, verdicts[each]) for stage, each in zip(BOX_CHECKS, said, strict=False))
    return CheckedBox(bbox, label, score, tuple(decisions))


def mined(name: str, phrases: tuple[str, ...], *boxes: CheckedBox) -> MinedImage:
    return MinedImage(f"/data/images/{name}", f"key of {name}", 256, 256, ("q",), phrases, boxes)


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    rows = [
        {"bbox": RED_BALL, "colour": "red", "shape": "ball", "visible": 1.0},
        {"bbox": RED_BOX, "colour": "red", "shape": "box", "visible": 0.3},
        {"bbox": BLUE_BALL, "colour": "blue", "shape": "ball", "visible": 0.8},
        {"bbox": HIDDEN, "colour": "red", "shape": "ball", "visible": 0.29},
    ]
    path = tmp_path / "objects.jsonl"
    images = ("lamp-1.png", "quilt-2.png")
    path.write_text("".join(json.dumps({"image": image, "objects": rows}) + "\n" for image in images))
    return path


def test_phrases_are_read_as_the_detector_learnt_them() -> None:
    nouns = [word for words in SHAPE_WORDS.values() for word in words] + ["object", "thing", "solid"]
    for colour, noun in product(("", *COLOURS), [*nouns, *map(plural, nouns)]):
        phrase = f"{colour} {noun}".strip()
        read = read_phrase(phrase)
        assert read is not None
        for own, shape in product(COLOURS, SHAPES):
            assert read.names(own, shape) == matches(phrase, own, shape), (phrase, own, shape)


@pytest.mark.parametrize(
    ("phrase", "kind"),
    [
        ("The Red Cubes", "colour and shape"),
        ("a  red-cube.", "colour and shape"),
        ("spheres", "shape"),
        ("blue objects", "colour"),
        ("things", "any object"),
        ("pink ball", "absent"),
        ("grey things", "absent"),
        ("a laptop", "absent"),
        ("red cups", "absent"),
    ],
)
def test_what_kind_a_phrase_is(phrase: str, kind: str) -> None:
    read = read_phrase(phrase)
    assert read is not None and read.kind == kind
    if kind == "absent":
        assert not any(read.names(colour, shape) for colour, shape in product(COLOURS, SHAPES))


@pytest.mark.parametrize(
    "phrase",
    [
        "orange box behind the purple cylinder",
        "leftmost box",
        "red",
        "table",
        "wooden table",
        "red and blue ball",
        "large red ball",
        "",
        "the",
        "球",
        "red ball 2",
        "tall cone",
    ],
)
def test_phrases_that_say_more_are_not_read(phrase: str) -> None:
    assert read_phrase(phrase) is None


def test_without_objects_there_is_nothing_to_say(tmp_path: Path) -> None:
    def never():  # the records are not even read
        raise AssertionError
        yield

    assert evaluate_mining(never(), tmp_path / "objects.jsonl") is None


def test_figures_by_hand(objects: Path) -> None:
    """lamp: "red ball" 4 candidates (right, its double, on the hidden one, on the blue ball); "object": one right of
    three; a relational phrase with two candidates. quilt: "pink cone" found once, "box" never found."""
    lamp = mined(
        "lamp-1.png",
        ("Red ball", "object", "box left of the ball"),
        checked(RED_BALL, "Red ball", 0.9),
        checked((11, 10, 50, 50), "Red ball", 0.8, "kkd"),
        checked(HIDDEN, "Red ball", 0.7),
        checked(BLUE_BALL, "Red ball", 0.6, "kd"),
        checked(RED_BOX, "object", 0.5, "d"),
        checked(RED_BOX, "box left of the ball", 0.5),
        checked(RED_BALL, "box left of the ball", 0.4),
    )
    quilt = mined("quilt-2.png", ("pink cone", "boxes"), checked(RED_BALL, "pink cone", 0.3, "km"))
    report = evaluate_mining([lamp, quilt], objects)
    assert report is not None
    # counted candidates: red ball 3 (hidden left out), object 1, pink cone 1; right: red ball 1, object 1
    assert report["precision_by_stage"] == {
        "candidates": 0.4,
        "coarse": 0.25,
        "crops": 0.5,
        "duplicates": 1.0,
    }
    # true pairs: red ball 1, object 3 (the hidden one is none), pink cone 0, boxes 1
    assert report["n"]["true_pairs"] == 5
    assert report["recall_by_stage"] == {"candidates": 0.4, "coarse": 0.2, "crops": 0.2, "duplicates": 0.2}
    assert report["recall_lost"] == 20.0
    assert (report["phrases_unread"], report["candidates_unread"]) == (1, 2)
    assert report["unread"] == ["box left of the ball"]
    assert report["n"]["missing"] == 1 and report["n"]["candidates"] == 6
    assert report["boxes_by_stage"]["candidates"]["left_out"] == 1
    assert set(report["by_look"]) == {"lamp", "quilt"}
    assert report["by_look"]["lamp"]["precision_by_stage"]["candidates"] == 0.5
    assert report["by_look"]["quilt"]["precision_by_stage"]["duplicates"] is None
    assert report["by_kind"]["absent"]["precision_by_stage"]["candidates"] == 0.0
    assert report["by_kind"]["shape"]["recall_by_stage"]["candidates"] == 0.0
    assert set(report["by_kind"]) == {"colour and shape", "any object", "absent", "shape"}
    json.dumps(report)


def test_phrases_that_no_box_stands_for_and_how_many_of_them_are_there(objects: Path) -> None:
    """never found: box (there), blue box (not there); refused: blue ball (there), pink cone (not there). The others are
    confirmed, without a verdict, or dropped as unsure."""
    unsure = replace(
        checked(RED_BOX, "red box", 0.4), decisions=(BoxDecision(BOX_CHECKS[0], False, unsure=True),)
    )
    picture = mined(
        "lamp-1.png",
        ("box", "blue box", "blue ball", "pink cone", "red ball", "object", "red box"),
        checked(RED_BOX, "blue ball", 0.4, "d"),
        checked(RED_BOX, "pink cone", 0.4, "kd"),
        checked(RED_BALL, "red ball", 0.9),
        checked(RED_BALL, "object", 0.9, "m"),
        unsure,
    )
    report = evaluate_mining([picture], objects)
    assert report is not None
    counted = report["phrases_without_box"]
    assert counted["no candidate"] == counted["all refused"] == {"phrases": 2, "there": 1}
    assert counted["without a verdict"] == {"phrases": 4, "there": 2}
    assert counted["absent_wrong"] == {"share": None} and counted["absent_found"]["share"] == 0.0
    said = {"box": "present", "blue box": "absent", "blue ball": "absent", "pink cone": "unsure"}
    report = evaluate_mining([replace(picture, presence=said)], objects)
    assert report is not None
    counted = report["phrases_without_box"]
    assert counted["called absent"] == {"phrases": 2, "there": 1}
    assert counted["called present"] == {"phrases": 1, "there": 1}
    assert counted["called unsure"] == {"phrases": 1, "there": 0}
    assert counted["absent_wrong"] == {"share": 0.5, "ci": [0.0945, 0.9055]}
    assert counted["absent_found"]["share"] == 0.5  # of blue box and pink cone
    assert counted["by_look"] == {"lamp": {name: counted[name] for name in counted if name != "by_look"}}


def test_a_picture_that_came_again_counts_once(objects: Path) -> None:
    first = mined("lamp-1.png", ("red ball",), checked(RED_BALL, "red ball", 0.9, "m"))
    again = replace(first, boxes=(checked(RED_BALL, "red ball", 0.9),), phrases=("red ball", "blue ball"))
    report = evaluate_mining([first, again], objects)
    assert report is not None
    assert report["n"] == {
        "pictures": 1,
        "phrases": 2,
        "true_pairs": 2,
        "candidates": 1,
        "missing": 0,
        "missing_right": 0,
    }
    assert report["precision_by_stage"]["duplicates"] == 1.0


def test_pictures_without_truth_are_counted_apart(objects: Path) -> None:
    photo = mined("photo.jpg", ("red ball",), checked(RED_BALL, "red ball", 0.9))
    report = evaluate_mining([photo], objects)
    assert report is not None and report["pictures_without_truth"] == 1
    assert report["n"]["pictures"] == 0 and report["recall_lost"] is None


def test_a_file_of_objects_of_another_form_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "objects.jsonl"
    path.write_text('{"image": "lamp-1.png", "objects": [{"bbox": [1, 2]}]}\n')
    with pytest.raises(ConfigError, match="line 1 holds no objects"):
        evaluate_mining([], path)
