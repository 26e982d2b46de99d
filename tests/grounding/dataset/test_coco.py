"""COCO as pycocotools reads it."""

from __future__ import annotations

import contextlib
import io
import json
import random

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from valor_ray.grounding.dataset.odvg import read_label_map, read_odvg


@pytest.fixture
def scattered(mined, box):
    """Pictures with confirmed boxes of five phrases, refused boxes between them, and one without any box."""
    rng = random.Random(3)

    def some(name: str):
        boxes = []
        for _number in range(rng.randint(1, 12)):
            x, y = rng.uniform(0, 150), rng.uniform(0, 60)
            sides = (x, y, x + rng.uniform(2, 50), y + rng.uniform(2, 40))
            label = rng.choice(("cup", "red cup", "plate, white", "Dog", "łódź"))
            boxes.append(box(label, sides, rng.choice(("yyy", "yyy", "n")), rng.random()))
        return mined(name, *boxes)

    return [*(some(f"p{number}") for number in range(30)), mined("empty", asked=("cup",))]


def quietly(call, *arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        return call(*arguments)


def average_precision(truth: COCO, boxes: list[dict]) -> float:
    evaluation = COCOeval(truth, quietly(truth.loadRes, boxes), "bbox")
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        quietly(step)
    return float(evaluation.stats[0])


def as_results(truth: COCO, **other) -> list[dict]:
    return [
        {name: each[name] for name in ("image_id", "category_id", "bbox")} | {"score": 1.0} | other
        for each in truth.dataset["annotations"]
    ]


def test_the_export_evaluated_against_itself_gives_ap_1(scattered, export, folder):
    export(*scattered)
    truth = quietly(COCO, str(folder / "coco.json"))
    boxes = as_results(truth)
    assert len(boxes) > 50
    assert average_precision(truth, boxes) == 1.0


def test_the_evaluation_can_fail(scattered, export, folder):
    export(*scattered)
    truth = quietly(COCO, str(folder / "coco.json"))
    corners = [{**each, "bbox": [*each["bbox"][:2], sum(each["bbox"][::2]), sum(each["bbox"][1::2])]} for each in
               as_results(truth)]  # fmt: skip
    assert average_precision(truth, corners) < 0.7  # x1, y1, x2, y2 in place of x, y, width, height
    shifted = [{**each, "category_id": each["category_id"] % 5 + 1} for each in as_results(truth)]
    assert average_precision(truth, shifted) < 0.2


def test_ids_and_boxes_are_those_of_odvg(scattered, export, folder):
    counts = export(*scattered)
    coco = json.loads((folder / "coco.json").read_text())
    names = {each["id"]: each["name"] for each in coco["categories"]}
    assert min(names) == 1
    assert [names[number + 1] for number in range(len(names))] == list(
        read_label_map(folder / "label_map.json")
    )
    images = {each["id"]: each for each in coco["images"]}
    assert len(images) == len(coco["images"]) == counts.images == 31
    drawn = {number: [] for number in images}
    for each in coco["annotations"]:
        x, y, width, height = each["bbox"]
        assert each["area"] == pytest.approx(width * height)
        assert each["iscrowd"] == 0
        drawn[each["image_id"]].append((names[each["category_id"]], x, y, x + width, y + height))
    assert len({each["id"] for each in coco["annotations"]}) == counts.positives
    for number, image in zip(images, read_odvg(folder), strict=True):
        assert images[number]["file_name"] == image.filename
        assert (images[number]["width"], images[number]["height"]) == (image.width, image.height)
        wanted = [(each.category, *each.bbox) for each in image.instances]
        assert [each[0] for each in drawn[number]] == [each[0] for each in wanted]
        for ours, theirs in zip(drawn[number], wanted, strict=True):
            assert ours[1:] == pytest.approx(theirs[1:])


def test_image_ids_stay_when_pictures_are_added_in_front(mined, box, export, folder):
    def ids():
        return {
            each["file_name"]: each["id"] for each in json.loads((folder / "coco.json").read_text())["images"]
        }

    one, two, three = (mined(f"/pics/{name}", box("cup")) for name in ("one", "two", "three"))
    export(one, two)
    assert ids() == {"one": 1, "two": 2}
    export(three, two, one)
    assert ids() == {"one": 1, "two": 2, "three": 3}
    export(one)
    export(one, mined("/pics/four", box("cup")))
    assert ids() == {"one": 1, "four": 4}  # a number is never given to another picture
