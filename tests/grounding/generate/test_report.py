"""The report: both methods on the same pictures, accounts of all starts, nulls where nothing is known."""

from typing import Any

import pytest

from valor_ray.grounding.generate.calibrate import Calibration
from valor_ray.grounding.generate.compare import Named
from valor_ray.grounding.generate.frozen import Frozen
from valor_ray.grounding.generate.report import make_report
from valor_ray.grounding.generate.run import MinedPicture, Proposed
from valor_ray.judges.boxes.proposals import ProposedBox
from valor_ray.records import BOX_CHECKS, BBox, BoxDecision, CheckedBox

A, B = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 30.0, 40.0)
CALIBRATION = Calibration("xyxy_unit", {"xyxy_unit": 0.9}, 20, 50, {"xyxy_unit": 20}, {}, 80, 0.8)
FROZEN = Frozen("vlm", "mine", "xyxy_unit", CALIBRATION, {"split": "val"})


def mined(key: str, *kept: BBox, by: str = "vlm") -> MinedPicture:
    decisions = tuple(BoxDecision(stage, True, "", by) for stage in BOX_CHECKS[:2])
    decisions += (BoxDecision(BOX_CHECKS[2], True, "", "geometry"),)
    boxes = tuple(CheckedBox(bbox, "ball", 0.5, decisions) for bbox in kept)
    return MinedPicture(f"{key}.png", None, key, ("ball",), boxes)


def proposed(key: str, *boxes: BBox, **more: Any) -> Proposed:
    made = tuple(ProposedBox("ball", bbox) for bbox in boxes)
    return Proposed(key, f"{key}.png", ("ball",), made, more.pop("slips", {}), **more)


PICTURES = [mined("a", A), mined("b", A, B), mined("c", B, by="other"), mined("d", A)]
PROPOSED = {
    "a": proposed("a", A, B, slips={"reversed": 1}, calls=1, cost_usd=0.1),
    "b": proposed("b", B, slips={"reversed": 2, "not_asked": 1}, calls=2, cost_usd=0.2),
    "c": proposed("c", A, cache_hits=1),
}
TRUTHS = {"a": {"ball": Named((A,))}, "b": {"ball": Named((A, B))}, "d": {"ball": Named((A,))}}


def test_figures_are_of_the_pictures_that_both_have_and_the_truth_knows() -> None:
    report = make_report(PICTURES, PROPOSED, TRUTHS, FROZEN)
    assert report["images"] == 2 and report["note"] == ""
    assert report["pictures"] == {"of_the_run": 4, "answered": 3, "with_truth": 2}
    assert report["generator"]["precision"] == pytest.approx(2 / 3)
    assert report["generator"]["recall"] == pytest.approx(2 / 3)
    assert report["verified"]["precision"] == 1 and report["verified"]["recall"] == 1
    assert report["slips"] == {
        "malformed": 0,
        "not_asked": 1,
        "reversed": 3,
        "out_of_range": 0,
        "too_small": 0,
    }
    assert report["calls"] == 83 and report["cost_usd"] == pytest.approx(1.1) and report["cache_hits"] == 1
    assert report["calibration"]["scores"] == {"xyxy_unit": 0.9} and report["format"] == "xyxy_unit"
    assert (report["model"], report["verifiers"]) == ("vlm", ["other", "vlm"])


def test_without_truth_boxes_are_counted_and_all_else_is_null() -> None:
    report = make_report(PICTURES, PROPOSED, {}, FROZEN)
    assert report["images"] == 3 and "No true boxes are known" in report["note"]
    assert (report["generator"]["boxes"], report["verified"]["boxes"]) == (4, 4)
    for method in ("generator", "verified"):
        for name in ("precision", "recall", "f1", "mean_iou", "right", "true", "f1_ci"):
            assert report[method][name] is None
    assert report["f1_difference"] is None
