"""Precision by stage and recall lost, against counts made by hand."""

import pytest

from valor_ray.measure.box_stages import BoxStages, PhraseBoxes, claims
from valor_ray.measure.intervals import wilson
from valor_ray.records import BOX_CHECKS, BBox, BoxDecision, CheckedBox

BALL: BBox = (0, 0, 10, 10)
CUBE: BBox = (100, 100, 140, 140)
NOTHING: BBox = (200, 0, 220, 20)


def box(bbox: BBox, score: float, said: str) -> CheckedBox:
    """said: a letter a check, k(ept), d(ropped) or m(issing)."""
    verdicts = {"k": True, "d": False, "m": None}
    return CheckedBox(
        bbox,
        "red ball",
        score,
        tuple(BoxDecision(stage, verdicts[letter]) for stage, letter in zip(BOX_CHECKS, said, strict=False)),
    )


def report(*phrases: PhraseBoxes) -> dict:
    stages = BoxStages()
    for phrase in phrases:
        stages.add(phrase)
    return stages.report()


def test_each_true_box_is_claimed_once_by_the_best_score() -> None:
    near: BBox = (1, 0, 10, 10)  # IoU 0.9 with the ball
    assert claims([BALL, near, NOTHING], [BALL, CUBE]) == ["right", "duplicate", "wrong"]


def test_a_box_takes_the_free_object_that_it_covers_best() -> None:
    left, right = (0.0, 0.0, 10.0, 10.0), (2.0, 0.0, 12.0, 10.0)  # IoU of the two 8 / 12
    assert claims([(2, 0, 12, 10), (2, 0, 12, 10)], [left, right]) == ["right", "right"]
    assert claims([(2, 0, 12, 10)] * 3, [left, right])[2] == "duplicate"


@pytest.mark.parametrize(("width", "mark"), [(5.0, "right"), (4.9, "wrong")])
def test_half_an_object_is_enough_and_less_is_not(width: float, mark: str) -> None:
    assert claims([(0, 0, width, 10)], [BALL]) == [mark]


def test_what_covers_only_something_hardly_to_be_seen_is_left_out() -> None:
    assert claims([CUBE, BALL, NOTHING], [BALL], [CUBE]) == ["left out", "right", "wrong"]
    assert claims([CUBE, CUBE], [], [CUBE]) == ["left out", "left out"]
    assert claims([BALL], [], []) == ["wrong"] and claims([], [BALL]) == []


def test_stages_by_hand() -> None:
    """Six candidates of two true boxes: after coarse 4, after crops 3, at the end 2 of which both are right."""
    counted = report(
        PhraseBoxes(
            "p",
            (
                box(NOTHING, 0.95, "d"),
                box(BALL, 0.9, "kkk"),
                box((0, 0, 10, 9), 0.8, "kkd"),
                box(CUBE, 0.7, "kkk"),
                box((101, 100, 140, 140), 0.3, "d"),
                box((300, 0, 320, 20), 0.2, "kd"),
            ),
            (BALL, CUBE),
        )
    )
    assert counted["precision_by_stage"] == {
        "candidates": round(2 / 6, 4),
        "coarse": 0.5,
        "crops": round(2 / 3, 4),
        "duplicates": 1.0,
    }
    assert counted["boxes_by_stage"]["candidates"] == {
        "boxes": 6,
        "right": 2,
        "duplicates": 2,
        "left_out": 0,
    }
    assert counted["recall_by_stage"] == dict.fromkeys(counted["precision_by_stage"], 1.0)
    assert counted["recall_lost"] == 0.0
    assert counted["n"] == {
        "pictures": 1,
        "phrases": 1,
        "true_pairs": 2,
        "candidates": 6,
        "missing": 0,
        "missing_right": 0,
    }


def test_recall_lost_is_in_points_of_all_true_pairs() -> None:
    """Ten pictures with a ball each: candidates claim 9, verification drops 3 of them, and 2 more have no verdict."""
    fates = ["kkk"] * 4 + ["d", "kd", "kkd", "m", "km"]
    phrases = [PhraseBoxes(str(n), (box(BALL, 0.5, fate),), (BALL,)) for n, fate in enumerate(fates)]
    counted = report(*phrases, PhraseBoxes("9", (), (BALL,)))
    assert counted["recall_by_stage"] == {"candidates": 0.9, "coarse": 0.7, "crops": 0.5, "duplicates": 0.4}
    assert counted["recall_lost"] == 50.0
    low, high = wilson(5, 10)
    assert counted["recall_lost_ci"] == pytest.approx([100 * low, 100 * high], abs=3)
    assert counted["n"]["missing"] == 2 and counted["n"]["missing_right"] == 2


def test_a_kept_second_box_is_right_when_the_first_was_dropped() -> None:
    counted = report(PhraseBoxes("p", (box(BALL, 0.9, "d"), box((0, 0, 10, 9), 0.8, "kkk")), (BALL,)))
    assert counted["precision_by_stage"]["duplicates"] == 1.0 and counted["recall_lost"] == 0.0
    assert counted["precision_by_stage"]["candidates"] == 0.5


def test_a_phrase_that_names_nothing_counts_against_precision_alone() -> None:
    counted = report(PhraseBoxes("p", (box(BALL, 0.9, "kkk"),), ()))
    assert counted["precision_by_stage"]["duplicates"] == 0.0
    assert counted["recall_by_stage"]["candidates"] is None and counted["recall_lost"] is None


def test_nothing_has_no_precision() -> None:
    counted = report()
    assert set(counted["precision_by_stage"].values()) == {None} == set(counted["precision_ci"].values())
    assert counted["recall_lost"] is None and counted["recall_lost_ci"] is None


def test_boxes_left_out_count_nowhere() -> None:
    counted = report(PhraseBoxes("p", (box(BALL, 0.9, "kkk"), box(CUBE, 0.8, "kkk")), (BALL,), (CUBE,)))
    assert counted["precision_by_stage"]["candidates"] == 1.0
    assert counted["boxes_by_stage"]["duplicates"]["left_out"] == 1


def test_intervals_know_that_boxes_of_a_picture_are_alike() -> None:
    """The same 40 boxes: of 40 pictures, and of 4 pictures all right or all wrong."""

    def interval(pictures: int) -> float:
        size = 40 // pictures
        phrases = [
            PhraseBoxes(
                str(picture),
                tuple(box((20 * n, 0, 20 * n + 10, 10), 0.5, "kkk") for n in range(size)),
                tuple((20 * n, 0, 20 * n + 10, 10) for n in range(size)) if picture % 2 else (),
            )
            for picture in range(pictures)
        ]
        low, high = report(*phrases)["precision_ci"]["candidates"]
        return high - low

    assert interval(4) > 2 * interval(40)
