"""What places decide: nothing outside, no doubles of one place, no one object in two places."""

from __future__ import annotations

import math

import numpy as np
import pytest

from valor_ray.judges.boxes.geometry import (
    APART,
    Group,
    believable,
    clipped,
    overlapping,
    phrase_key,
    shared,
)

A, A_TOO, A_HALF, FAR = (0, 0, 100, 100), (1, 0, 101, 100), (0, 0, 50, 100), (300, 0, 400, 100)


@pytest.mark.parametrize(
    ("bbox", "inside"),
    [
        ((10, 10, 20, 20), (10, 10, 20, 20)),
        ((-5, -5, 5, 5), (0, 0, 5, 5)),
        ((90, 40, 120, 90), (90, 40, 100, 50)),
        ((0.2, 0.2, 0.6, 0.6), (0.2, 0.2, 0.6, 0.6)),
        ((100, 0, 120, 10), None),
        ((20, 20, 10, 30), None),
        ((20, 20, 20, 30), None),
        ((math.nan, 0, 10, 10), None),
        ((0, 0, math.inf, 10), None),
    ],
)
def test_boxes_are_clipped_and_those_without_area_are_none(bbox, inside) -> None:
    assert clipped(bbox, 100, 50) == inside


def test_labels_are_one_phrase_whatever_their_case_width_and_spaces() -> None:
    assert phrase_key(" Red\n  cube") == phrase_key("red cube") == phrase_key("ｒｅｄ cube")
    assert phrase_key("red cube") != phrase_key("red cubes")


def test_shared_is_of_the_smaller_box() -> None:
    assert shared(np.array([A, A_HALF, FAR], float))[0].tolist() == [1, 1, 0]


def test_only_boxes_of_one_phrase_that_overlap_are_clusters() -> None:
    boxes = [A, FAR, A_TOO, A_HALF, (390, 90, 500, 200), (100, 0, 110, 10)]
    assert overlapping(boxes, ["cup", "cup", "cup", "plate", "CUP", "plate"]) == [[0, 2], [1, 4]]


def test_what_touches_at_an_edge_only_does_not_overlap() -> None:
    assert overlapping([A, (100, 0, 200, 100)], ["cup", "cup"]) == []


def test_an_object_of_boxes_that_lie_apart_is_taken_apart() -> None:
    groups = believable([Group((0, 1, 2), 0, "one cup")], [A, A_HALF, FAR], [0.9, 0.8, 0.7])
    assert [(group.indices, group.best) for group in groups] == [((0, 1), 0), ((2,), 2)]
    assert [(group.reason, group.by_geometry) for group in groups] == [("one cup", False), (APART, True)]


def test_nearly_equal_boxes_are_one_object_whatever_was_said() -> None:
    said = [Group((0,), 0, "a cup"), Group((1,), 1, "another cup"), Group((2,), 2, "a third")]
    groups = believable(said, [A, A_TOO, FAR], [0.5, 0.9, 0.7])
    assert [(set(group.indices), group.best) for group in groups] == [({0, 1}, 1), ({2}, 2)]


def test_no_two_bests_stay_that_are_nearly_the_same_box() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        boxes = [tuple(np.array((0, 0, 100, 100)) + rng.uniform(-12, 12, 4)) for _ in range(7)]
        order = rng.permutation(7)
        said = [Group(tuple(map(int, part)), int(rng.choice(part))) for part in np.array_split(order, 3)]
        groups = believable(said, boxes, list(rng.random(7)))
        assert sorted(index for group in groups for index in group.indices) == list(range(7))
        assert all(group.best in group.indices for group in groups)
        bests = np.array([boxes[group.best] for group in groups])
        sides = (np.minimum(bests[:, None, 2:], bests[None, :, 2:])) - np.maximum(
            bests[:, None, :2], bests[None, :, :2]
        )
        inner, area = sides.clip(min=0).prod(-1), (bests[:, 2:] - bests[:, :2]).prod(-1)
        iou = inner / (area[:, None] + area[None] - inner)
        assert (iou[~np.eye(len(bests), dtype=bool)] < 0.85).all()
