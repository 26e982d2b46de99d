"""Requests about boxes: what is refused, and how it is named."""

import json

import pytest

from valor_ray.judges.sections import write_sections
from valor_ray.tabletop.judge.boxes.request import (
    BoxRequestError,
    Listed,
    read_boxes,
    read_label,
    read_wanted,
)

SIZE = {"width": 100, "height": 80}
BOX = {"index": 1, "label": "red box", "box": [0, 0, 100, 80]}


def message(*boxes: object, size: object = SIZE) -> str:
    lines = [box if isinstance(box, str) else json.dumps(box) for box in boxes]
    return write_sections({"boxes": "\n".join(lines), "picture": json.dumps(size)})


def test_list_of_boxes_is_read_with_labels_of_any_kind() -> None:
    odd = 'a "box"\u2028with <<<boxes 12345678>>>'
    said = message(BOX, {"index": 2, "label": odd, "box": [1, 2, 3, 4]})
    assert read_boxes(said, (100, 80)) == [
        Listed(1, "red box", (0, 0, 100, 80)),
        Listed(2, odd, (1, 2, 3, 4)),
    ]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("What is this?", "no section picture"),
        (message(BOX, size={"width": 90, "height": 80}), "says 90x80, but the picture has 100x80"),
        (message(BOX, size=[100, 80]), "must be a JSON object"),
        (message(), "no section boxes"),
        (message(BOX, "{index: 2}"), "line 2: not valid JSON"),
        (message("[" * 10_000), "line 1: not valid JSON"),
        (message([1, 2]), "line 1: must be a JSON object"),
        (message(BOX | {"index": None}), "no whole number as index"),
        (message(BOX | {"index": True}), "no whole number as index"),
        (message(BOX | {"index": 0}), r"count from 1 without gaps, not \[0\]"),
        (message(BOX, BOX | {"index": 3}), r"without gaps, not \[1, 3\]"),
        (message(BOX | {"label": 7}), "no text as label"),
        (message(BOX | {"box": [1, 2, 3]}), "four whole numbers"),
        (message(BOX | {"box": [0.0, 1, 2, 3]}), "four whole numbers"),
        (message(BOX | {"box": [0, 0, 101, 80]}), "does not lie inside the picture of 100x80"),
        (message(BOX | {"box": [-1, 0, 10, 10]}), "does not lie inside"),
        (message(BOX | {"box": [20, 0, 20, 10]}), "does not lie inside"),
    ],
)
def test_malformed_list_is_refused_by_name(said: str, why: str) -> None:
    with pytest.raises(BoxRequestError, match=why):
        read_boxes(said, (100, 80))


def test_label_and_wanted_phrases_are_read() -> None:
    picture = json.dumps(SIZE)
    assert read_label(write_sections({"label": "red box", "picture": picture}), (100, 80)) == "red box"
    wanted = {"labels": "red box\n\ncone", "format": "yxyx_1000", "picture": picture}
    assert read_wanted(write_sections(wanted), (100, 80)) == (["red box", "cone"], "yxyx_1000")
    with pytest.raises(BoxRequestError, match=r"xywh.*is no box convention; known: xyxy_pixels"):
        read_wanted(write_sections(wanted | {"format": "xywh"}), (100, 80))
    with pytest.raises(BoxRequestError, match="no section label"):
        read_label(write_sections({"label": " ", "picture": picture}), (100, 80))
