"""One best box per object: only overlapping boxes of one phrase are asked about, and geometry has the last word."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from valor_ray.judges.boxes.checks import BoxChecks, check_boxes
from valor_ray.records import Detection, JudgeReply

PAIR = [Detection((10, 10, 110, 110), "cup", 0.9), Detection((20, 20, 115, 115), "cup", 0.8)]


def check(verifier, picture, config, candidates, **grounding) -> BoxChecks:
    settings = config.grounding.model_copy(update=grounding)
    return asyncio.run(check_boxes(verifier, picture, candidates, settings, config.judge))


def last(checks: BoxChecks) -> list[tuple[bool | None, str]]:
    return [(box.decisions[-1].kept, box.decisions[-1].by) for box in checks.boxes]


def answering(*entries: tuple[list[int], int]):
    return lambda number, right: {
        "objects": [{"indices": indices, "best": best, "reason": "so"} for indices, best in entries]
    }


def test_boxes_of_other_phrases_and_those_that_do_not_touch_are_not_asked_about(
    verifier, picture, config
) -> None:
    candidates = [
        *PAIR,
        Detection((15, 15, 110, 110), "plate", 0.7),
        Detection((200, 10, 260, 90), "cup", 0.6),
    ]
    checks = check(verifier, picture, config, candidates)
    (request,) = verifier.of("box_duplicates")
    assert [box["label"] for box in verifier.read(request)["boxes"]] == ["cup", "cup"]
    assert last(checks) == [(True, "scripted"), (False, "scripted"), (True, "geometry"), (True, "geometry")]
    assert "better" in checks.boxes[1].decisions[-1].reason


def test_the_best_box_is_the_one_that_the_verifier_names(verifier, picture, config) -> None:
    verifier.spoil["box_duplicates"] = answering(([1, 2], 2))
    assert last(check(verifier, picture, config, PAIR)) == [(False, "scripted"), (True, "scripted")]


def test_two_things_of_one_kind_stay_two(verifier, picture, config) -> None:
    verifier.spoil["box_duplicates"] = answering(([1], 1), ([2], 2))
    assert last(check(verifier, picture, config, PAIR)) == [(True, "scripted"), (True, "scripted")]


def test_nearly_equal_boxes_are_one_object_whatever_was_said(verifier, picture, config) -> None:
    verifier.spoil["box_duplicates"] = answering(([1], 1), ([2], 2))
    same = [PAIR[0], Detection((11, 10, 111, 110), "cup", 0.8)]
    assert last(check(verifier, picture, config, same)) == [(True, "geometry"), (False, "geometry")]


def test_boxes_that_hardly_share_anything_are_not_one_object(verifier, picture, config) -> None:
    row = [Detection((10 + 90 * at, 10, 110 + 90 * at, 110), "cup", 0.9 - at / 10) for at in range(3)]
    verifier.spoil["box_duplicates"] = answering(([1, 2, 3], 1))
    checks = check(verifier, picture, config, row)
    assert last(checks) == [(True, "scripted"), (True, "geometry"), (True, "geometry")]
    assert checks.slips == {"refuted": 1}


@pytest.mark.parametrize(
    ("slip", "entries"),
    [
        ("omitted", [([1], 1)]),
        ("repeated", [([1, 2], 1), ([2], 2)]),
        ("zero_based", [([0, 1], 0)]),
        ("wrong_best", [([1, 2], 3)]),
    ],
)
def test_a_slip_is_asked_again_then_missing_and_never_dropped(
    slip, entries, verifier, picture, config
) -> None:
    spoilt = answering(*entries)
    verifier.spoil["box_duplicates"] = lambda number, right: spoilt(0, None) if number == 0 else right
    checks = check(verifier, picture, config, PAIR)
    assert [box.kept for box in checks.boxes] == [True, False] and checks.slips == {slip: 1}
    verifier.spoil["box_duplicates"] = spoilt
    checks = check(verifier, picture, config, PAIR)
    assert [box.kept for box in checks.boxes] == [None, None] and checks.slips == {slip: 2}


def test_a_slip_in_one_cluster_leaves_the_others(verifier, picture, config) -> None:
    other = [Detection((210, 10, 310, 110), "cup", 0.7), Detection((220, 20, 315, 115), "cup", 0.6)]
    spoilt = answering(([1, 2], 1), ([3], 3))
    verifier.spoil["box_duplicates"] = lambda number, right: spoilt(0, None) if number == 0 else right
    checks = check(verifier, picture, config, [*PAIR, *other])
    assert [box.kept for box in checks.boxes] == [True, False, True, False]
    assert len(verifier.read(verifier.of("box_duplicates")[1])["boxes"]) == 2


def test_a_failed_call_costs_only_its_cluster(verifier, picture, config) -> None:
    other = [Detection((210, 10, 310, 110), "cup", 0.7), Detection((220, 20, 315, 115), "cup", 0.6)]
    verifier.spoil["box_duplicates"] = lambda number, right: JudgeReply(None, "down") if number else right
    checks = check(verifier, picture, config, [*PAIR, *other], boxes_per_picture=3)
    assert [box.kept for box in checks.boxes] == [True, False, None, None]


def test_a_cluster_that_fits_no_picture_is_compared_in_parts_and_then_their_best(
    verifier, picture, config
) -> None:
    rng = np.random.default_rng(0)
    near = [tuple(np.array((100, 100, 200, 200)) + rng.uniform(-9, 9, 4)) for _ in range(50)]
    far = [tuple(np.array((160, 100, 260, 200)) + rng.uniform(-9, 9, 4)) for _ in range(50)]
    candidates = [Detection(bbox, "cup", float(rng.random())) for bbox in [*near, *far]]
    checks = check(verifier, picture, config, candidates)
    kept = [at for at, box in enumerate(checks.boxes) if box.kept]
    assert all(box.kept is not None for box in checks.boxes)
    assert len(kept) == 2 and kept[0] < 50 <= kept[1]
    assert all(len(verifier.read(each)["boxes"]) <= 20 for each in verifier.of("box_duplicates"))


def test_a_large_cluster_of_different_things_ends(verifier, picture, config) -> None:
    verifier.spoil["box_duplicates"] = lambda number, right: {
        "objects": [
            {"indices": [index], "best": index, "reason": ""}
            for entry in right["objects"]
            for index in entry["indices"]
        ]
    }
    candidates = [Detection((9 * at, 10, 9 * at + 60, 110), "cup", 0.5) for at in range(36)]
    checks = check(verifier, picture, config, candidates)
    assert [box.kept for box in checks.boxes] == [True] * 36
    assert len(verifier.of("box_duplicates")) == 2
