"""Pictures before and after: what is new, gone and confirmed; pictures that cannot be shown; boxes that are none."""

from pathlib import Path

import numpy as np
from finetuned import write_lines
from PIL import Image

from valor_ray.report.finetuning.examples import MOST, Example, examples
from valor_ray.report.finetuning.records import read_finetuning


def box(bbox: object, phrase: str = "red ball", score: object = 0.5) -> dict:
    return {"bbox": bbox, "phrase": phrase, "score": score}


def row(folder: Path, **more: object) -> dict:
    path = folder / "mined/data/images/a.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(path)
    return {
        "image": str(path),
        "width": 200,
        "height": 100,
        "phrases": ["red ball"],
        "start": [],
        "end": [],
    } | more


def shown(folder: Path, *rows: dict) -> list[Example]:
    write_lines(folder / "examples.jsonl", list(rows))
    return list(examples(read_finetuning(folder, {})))


def test_new_gone_and_verified_boxes_are_told_apart_by_phrase_and_overlap(tmp_path: Path) -> None:
    kept, moved = box([10, 10, 50, 50]), box([12, 10, 52, 50])
    wrong, right = box([100, 10, 140, 50], "red cube"), box([100, 10, 140, 50], "Red  Ball")
    verified = [box([10, 10, 50, 50]), box([100, 10, 140, 50]), box([150, 60, 190, 90])]
    (example,) = shown(tmp_path, row(tmp_path, start=[kept, wrong], end=[moved, right], verified=verified))
    before, after = example.sides
    assert before.facts == "2 boxes · 1 gone after · 1 of 3 verified ones"
    assert after.facts == "2 boxes · 1 new · 2 of 3 verified ones"
    assert [(each.title, each.alone) for each in after.boxes] == [
        ("red ball 0.50", False),
        ("Red  Ball 0.50", True),
    ]
    assert (
        len(before.verified) == 3 and before.boxes[0].colour == after.boxes[0].colour == after.boxes[1].colour
    )
    assert after.boxes[0].left == 12 * 2.4  # of 480 over 200 px


def test_two_boxes_on_one_are_not_both_known(tmp_path: Path) -> None:
    twice = [box([10, 10, 50, 50]), box([11, 10, 51, 50], score=0.9)]
    (example,) = shown(tmp_path, row(tmp_path, start=[box([10, 10, 50, 50])], end=twice))
    assert example.sides[1].facts == "2 boxes · 1 new"  # nothing about verified ones: the row has none


def test_boxes_are_clipped_and_what_is_no_box_is_left_out(tmp_path: Path) -> None:
    odd = [None, [], [1, 2, 3], [1, 2, 3, "x"], [0, 0, float("nan"), 9], [300, 0, 400, 50], [50, 50, 10, 60]]
    boxes = [box(each) for each in odd] + [box([-50, -50, 500, 500], score=None), "x"]
    (example,) = shown(tmp_path, row(tmp_path, end=boxes, start="x"))
    (only,) = example.sides[1].boxes
    assert (only.left, only.top, only.width, only.height) == (0, 0, 480, 240) and only.label == "red ball"
    assert example.sides[0].facts == "0 boxes"


def test_labels_stay_inside_the_picture_and_are_short(tmp_path: Path) -> None:
    long = box([180, 0, 199, 20], "word " * 300)
    (example,) = shown(tmp_path, row(tmp_path, end=[long], phrases=["word " * 300, "sofa"]))
    (only,) = example.sides[1].boxes
    assert only.label_x >= 0 and only.label_x + only.label_width <= 480 and only.label_y >= 0
    assert len(only.label) < 30 and len(only.title) < 130
    assert [(len(phrase) <= 120, bool(colour)) for phrase, colour in example.phrases] == [
        (True, True),
        (True, False),
    ]


def test_a_picture_that_is_gone_at_an_address_or_none_says_so(tmp_path: Path) -> None:
    names = ["/nowhere/b.png", "https://example.org/a.png", "", "\0", "x" * 5000, None, str(tmp_path)]
    for example in shown(tmp_path, *(row(tmp_path, image=name, end=[box([1, 1, 9, 9])]) for name in names)):
        assert not example.uri and "cannot be shown" in example.problem and len(example.sides[1].boxes) == 1


def test_pictures_of_a_run_that_has_moved_are_shown_upright(tmp_path: Path) -> None:
    moved = row(tmp_path, image="/gone/mined/data/images/a.png")
    (example,) = shown(tmp_path, moved)
    assert example.uri.startswith("data:image/jpeg;base64,") and not example.problem


def test_at_most_a_dozen_and_rows_without_a_size_are_passed_over(tmp_path: Path) -> None:
    rows = [row(tmp_path, width=0), row(tmp_path, height=None), *[row(tmp_path)] * (MOST + 3)]
    assert len(shown(tmp_path, *rows)) == MOST
