"""The convention that a VLM keeps to is found on known pictures."""

import asyncio

import pytest
from box_vlm import BoxVlm, shade

from valor_ray.config.judging import JudgeConfig
from valor_ray.errors import JudgeError
from valor_ray.grounding.generate.calibrate import Calibration, KnownPicture, best_overlaps, calibrate
from valor_ray.judges.boxes.proposals import CONVENTIONS, ProposedBox

TRUTH = {
    0: {
        "red box": [(10.0, 20.0, 40.0, 80.0)],
        "blue ball": [(60.0, 5.0, 90.0, 35.0), (50.0, 50.0, 110.0, 85.0)],
    },
    5: {"red box": [(70.0, 40.0, 115.0, 60.0)], "cone": []},
    9: {"green cone": [(1.0, 2.0, 20.0, 88.0)]},
}
KNOWN = [KnownPicture(shade(number), truth) for number, truth in TRUTH.items()]


def run(vlm: BoxVlm) -> Calibration:
    return asyncio.run(calibrate(vlm, KNOWN, JudgeConfig(model="m")))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_vlm_that_knows_one_convention_only_is_asked_for_that_one(name: str) -> None:
    """It writes so whatever it is asked for: read in another convention, its boxes are elsewhere."""
    vlm = BoxVlm(KNOWN, name)
    calibration = run(vlm)
    assert calibration.format == name
    assert calibration.scores[name] > 0.97
    assert all(score < 0.6 for other, score in calibration.scores.items() if other != name)
    assert calibration.scenes == 3 and calibration.true_boxes == 5 and calibration.answered[name] == 3
    assert calibration.calls == 12 and calibration.cost_usd == pytest.approx(0.12)


def test_a_vlm_that_obeys_each_convention_is_asked_for_the_first_of_equals() -> None:
    calibration = run(BoxVlm(KNOWN))
    assert all(score > 0.97 for score in calibration.scores.values())
    assert calibration.scores[calibration.format] == max(calibration.scores.values())


def test_slips_of_each_convention_are_reported() -> None:
    slips = run(BoxVlm(KNOWN, "xyxy_pixels")).slips
    assert slips["xyxy_pixels"] == {} and slips["xyxy_unit"]["out_of_range"] == 5


def test_missing_answers_count_against_a_convention_and_none_at_all_are_an_error() -> None:
    vlm = BoxVlm(KNOWN, "yxyx_1000")
    vlm.missing = {1: "down"}
    calibration = run(vlm)
    assert calibration.format == "yxyx_1000" and calibration.answered["yxyx_1000"] == 2
    assert calibration.scores["yxyx_1000"] == pytest.approx(4 / 5, abs=0.02)
    vlm.missing = {0: "down", 1: "down", 2: "down"}
    with pytest.raises(JudgeError, match=r"gave no boxes for any of 3 pictures .*down"):
        run(vlm)


def test_true_boxes_are_met_one_to_one_in_any_order() -> None:
    near, far = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)
    boxes = [ProposedBox("Ball", far), ProposedBox("ball", near), ProposedBox("box", near)]
    assert best_overlaps(boxes, {"ball": [near, far]}) == [1, 1]
    assert best_overlaps(boxes[1:], {"ball": [near, near], "box": [near], "cone": [near]}) == [1, 0, 1, 0]
    half = (0.0, 0.0, 10.0, 5.0)  # the best sum gives `near` to its own, though `half` comes first
    assert best_overlaps([ProposedBox("ball", half), ProposedBox("ball", near)], {"ball": [near, half]}) == [
        1,
        1,
    ]
