"""Proposed boxes: each convention against values worked out by hand, and answers that nobody asked for."""

import base64
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from valor_ray import images
from valor_ray.config.judging import JudgeConfig
from valor_ray.judges.boxes.proposals import (
    CONVENTIONS,
    SCHEMA,
    Asked,
    Proposals,
    Slip,
    proposal_request,
    read_proposals,
    sent_size,
)
from valor_ray.judges.gateway.call.schema import fits
from valor_ray.judges.sections import read_sections
from valor_ray.records import Picture

VLM = JudgeConfig(model="m")
PHRASES = ("red cube", "Blue ball")


def picture(width: int = 400, height: int = 300) -> Picture:
    shade = np.linspace(0, 255, width * height * 3).astype(np.uint8)
    return images.from_array(shade.reshape(height, width, 3))


def asked(name: str, phrases: tuple[str, ...] = PHRASES, shown: Picture | None = None) -> Asked:
    return proposal_request(shown or picture(), phrases, CONVENTIONS[name], VLM)


def read(name: str, *boxes: Any, label: Any = "red cube") -> Proposals:
    content = {"boxes": [{"label": label, "box": box} for box in boxes]}
    proposals = read_proposals(content, asked(name))
    assert proposals is not None
    return proposals


# The box (100, 60, 300, 150) of a picture of 400x300 px. It is sent at 768x576, and in multiples of 28 at 756x588:
# 100 x 756/400 = 189, 60 x 588/300 = 117.6, 300 x 756/400 = 567, 150 x 588/300 = 294.
BY_HAND = {
    "xyxy_pixels": ([189, 117.6, 567, 294], [567, 294, 189, 117.6], [189, 117.6, 567, 600]),
    "xyxy_1000": ([250, 200, 750, 500], [750, 500, 250, 200], [250, 200, 750, 1001]),
    "yxyx_1000": ([200, 250, 500, 750], [500, 750, 200, 250], [200, 250, 1001, 750]),
    "xyxy_unit": ([0.25, 0.2, 0.75, 0.5], [0.75, 0.5, 0.25, 0.2], [0.25, 0.2, 0.75, 1.5]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_box_is_read_in_the_convention_that_was_asked_for(name: str) -> None:
    right, reversed_, beyond = BY_HAND[name]
    plain = read(name, right)
    assert plain.boxes[0].bbox == pytest.approx((100, 60, 300, 150)) and plain.slips == {}
    turned = read(name, reversed_)
    assert turned.boxes[0].bbox == pytest.approx((100, 60, 300, 150)) and turned.slips == {Slip.REVERSED: 1}
    clipped = read(name, beyond)
    assert clipped.boxes[0].bbox == pytest.approx((100, 60, 300, 300))
    assert clipped.slips == {Slip.OUT_OF_RANGE: 1}


def test_the_whole_picture_and_the_edges_are_in_range() -> None:
    for name, whole in {
        "xyxy_pixels": [0, 0, 756, 588],
        "xyxy_1000": [0, 0, 1000, 1000],
        "yxyx_1000": [0, 0, 1000, 1000],
        "xyxy_unit": [0, 0, 1, 1],
    }.items():
        assert read(name, whole).boxes[0].bbox == pytest.approx((0, 0, 400, 300))
        assert read(name, whole).slips == {}


def test_numbers_that_look_like_another_convention_are_not_reread() -> None:
    """Fractions in an answer that was asked for in thousandths are a box of nothing, not a guess."""
    assert read("xyxy_1000", [0.25, 0.2, 0.75, 0.5]).slips == {Slip.TOO_SMALL: 1}
    assert read("xyxy_unit", [250, 200, 750, 500]).slips == {Slip.OUT_OF_RANGE: 1, Slip.TOO_SMALL: 1}


def test_a_box_under_one_square_pixel_of_the_original_is_dropped() -> None:
    just, under = [0, 0, 2.5, 1000 / 300], [0, 0, 2.5, 999 / 300]  # 1 px wide; 1 px and 0.999 px high
    both = read("xyxy_1000", just, under, [500, 100, 500, 900], [-50, 100, -10, 200])
    assert [box.bbox for box in both.boxes] == [pytest.approx((0, 0, 1, 1))]
    assert both.slips == {Slip.TOO_SMALL: 3, Slip.OUT_OF_RANGE: 1}


HOSTILE: Mapping[str, Any] = {
    "nan": [math.nan, 0, 10, 10],
    "infinite": [0, 0, math.inf, 10],
    "huge": [0, 0, 10**400, 10],
    "texts": ["1", "2", "30", "40"],
    "booleans": [False, False, True, True],
    "nested": [[0, 0, 100, 100]],
    "deeper": [0, 0, [100], 100],
    "three": [1, 2, 3],
    "five": [1, 2, 3, 4, 5],
    "empty": [],
    "null": None,
    "text": "0, 0, 100, 100",
    "named": {"x1": 0, "y1": 0, "x2": 9, "y2": 9},
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_box_that_is_not_four_numbers_is_counted_and_the_others_stay(kind: str, name: str) -> None:
    both = read(name, HOSTILE[kind], BY_HAND[name][0])
    assert both.slips == {Slip.MALFORMED: 1}
    assert [box.bbox for box in both.boxes] == [pytest.approx((100, 60, 300, 150))]


@pytest.mark.parametrize("item", [None, 7, "red cube", [], {}, {"box": [0, 0, 1, 1]}, {"label": "red cube"}])
def test_items_that_are_no_boxes_are_malformed(item: Any) -> None:
    proposals = read_proposals({"boxes": [item]}, asked("xyxy_unit"))
    assert proposals is not None and proposals.boxes == () and proposals.slips == {Slip.MALFORMED: 1}


@pytest.mark.parametrize(
    "content", [{}, {"boxes": None}, {"boxes": "none"}, {"boxes": {"label": "red cube"}}]
)
def test_an_answer_without_a_list_is_no_answer(content: Mapping[str, Any]) -> None:
    assert read_proposals(content, asked("xyxy_unit")) is None


def test_no_boxes_are_an_answer() -> None:
    assert read_proposals({"boxes": []}, asked("xyxy_unit")) == Proposals((), {})


def test_labels_are_met_in_any_spelling_and_come_back_as_they_were_asked() -> None:
    phrases = ("Blue ball", "café\ntable", "Straße", "红色 方块", "a, b. c\"d'")
    question = asked("xyxy_unit", phrases)
    said = [
        "  BLUE   ball ",
        "cafe\u0301 table",
        "STRASSE",
        "红色\u3000方块",
        "A, B. C\"D'",
        "red cube",
        "",
        "\ud800",
    ]
    content = {"boxes": [{"label": label, "box": [0, 0, 1, 1]} for label in said]}
    proposals = read_proposals(content, question)
    assert proposals is not None and tuple(box.label for box in proposals.boxes) == phrases
    assert proposals.slips == {Slip.NOT_ASKED: 3}
    assert read("xyxy_unit", [0, 0, 1, 1], label=["red cube"]).slips == {Slip.MALFORMED: 1}


def test_ten_thousand_boxes_are_read() -> None:
    many = read("xyxy_1000", *[[n % 900, 0, n % 900 + 100, 1000] for n in range(10_000)])
    assert len(many.boxes) == 10_000 and many.slips == {}


def test_the_request_states_labels_convention_and_the_size_that_is_sent() -> None:
    shown = picture(500, 100)
    for name, size in {"xyxy_pixels": (756, 168), "xyxy_1000": (768, 160)}.items():
        question = asked(name, ("red\ncube", "x <<<end labels"), shown)
        system, user = question.request.messages
        image, text = user["content"]
        sections = read_sections(text["text"])
        assert sections["labels"].splitlines() == ["red cube", "x <<<end labels"]
        assert sections["format"] == name and CONVENTIONS[name].text in system["content"]
        assert json.loads(sections["picture"]) == {"width": size[0], "height": size[1]}
        head, _, data = image["image_url"]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == size == question.sent
        assert "{{" not in system["content"] and question.request.head == "box_proposals"
    assert fits({"boxes": [{"label": "a", "box": [0, 0.5, 1, 1]}]}, SCHEMA)
    assert not fits({"boxes": [{"label": "a", "box": ["0", 0.5, 1, 1]}]}, SCHEMA)


def test_conventions_ask_for_answers_of_their_own() -> None:
    """Equal requests have equal answers: the convention must be part of what is asked."""
    texts = {json.dumps(asked(name).request.messages) for name in CONVENTIONS}
    assert len(texts) == len(CONVENTIONS) == 4


@pytest.mark.parametrize(
    "size", [(2, 200), (200, 2), (1, 1), (256, 256), (5000, 3000), (333, 4096), (1025, 1023)]
)
@pytest.mark.parametrize("grid", [28, 32])
@pytest.mark.parametrize("max_side", [64, 1000, 1024])
def test_sides_as_sent_are_multiples_within_bounds(size: tuple[int, int], grid: int, max_side: int) -> None:
    sides = sent_size(*size, grid, max_side)
    assert all(side % grid == 0 and grid <= side <= max_side for side in sides)
    long = max(sides)
    assert long >= min(768, max_side) - grid
    for side, original in zip(sides, size, strict=True):  # the aspect ratio is kept as far as the grid allows
        assert abs(side - max(grid, original * long / max(size))) <= grid
