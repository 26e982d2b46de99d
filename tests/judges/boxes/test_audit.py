"""The box canaries are what they say; a verifier that fails them, or numbers boxes in its own way, raises an alarm."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from valor_ray.judges.boxes.audit import (
    BoxAudit,
    SlipWatch,
    audit_record,
    canary_images,
    variant,
)
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.records import BoxStage, Detection, JudgeReply, MinedImage
from valor_ray.tabletop.mining.make_canaries import FOLDER, SIDE, canary_boxes
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import SEEN_LOOKS, SPLIT_SEEDS, sample_scene

KINDS = {"good", "shifted", "wrong_label", "doubled", "half", "empty", "oversized"}


def test_every_canary_holds_boxes_of_every_kind() -> None:
    assert len(canary_images()) >= 6
    for canary in canary_images():
        assert set(canary.kinds) == KINDS
        assert len(canary.candidates) == len(canary.kinds) == len(canary.expected)
        kept = [expected[BoxStage.COARSE] for expected in canary.expected if BoxStage.COARSE in expected]
        assert 3 <= kept.count(True) and 3 <= kept.count(False)


def test_shipped_canaries_are_what_the_script_makes_of_their_scenes() -> None:
    assert {path.stem for path in FOLDER.glob("*.png")} == {canary.canary_id for canary in canary_images()}
    for canary in canary_images():
        look, seed = canary.canary_id.split("-")
        assert look in SEEN_LOOKS and int(seed) in SPLIT_SEEDS["train"]
        rendering = render(sample_scene(int(seed), look), SIDE)
        assert (rendering.rgb == canary.picture.rgb).all()
        rows = canary_boxes(rendering, np.random.default_rng([int(seed), 17]))
        assert [Detection(tuple(row["bbox"]), row["label"], row["score"]) for row in rows] == list(
            canary.candidates
        )
        truth = {thing.label: np.array([thing.bbox]) for thing in rendering.objects}
        for kind, box in zip(canary.kinds, canary.candidates, strict=True):
            if kind == "wrong_label":
                assert box.label not in truth
                continue
            overlap = iou_matrix(np.array([box.bbox]), truth[box.label])[0, 0]
            low, high = {"good": (0.99, 1), "doubled": (0.7, 0.84), "empty": (0, 0)}.get(kind, (0, 0.55))
            assert low <= overlap <= high, (canary.canary_id, kind, overlap)


@pytest.mark.parametrize("number", [1, 2, 5, 12])
def test_a_variant_shows_the_same_things_in_the_same_boxes(number: int) -> None:
    canary = canary_images()[0]
    other = variant(canary, number)
    assert other.picture.key != canary.picture.key
    assert sorted(other.kinds) == sorted(canary.kinds)
    for kind, box, expected in zip(other.kinds, other.candidates, other.expected, strict=True):
        if kind == "good":
            (before,) = [
                known for known, as_kind in zip(canary.candidates, canary.kinds, strict=True)
                if as_kind == "good" and known.label == box.label
            ]  # fmt: skip
            assert expected[BoxStage.COARSE] is True
            parts = [
                picture.rgb[int(y1) : int(y2), int(x1) : int(x2)].astype(int)
                for picture, (x1, y1, x2, y2) in ((canary.picture, before.bbox), (other.picture, box.bbox))
            ]
            assert any((parts[0] == turned).all() for turned in (parts[1], parts[1][:, ::-1]))


def coarse_right(canary):
    """The coarse answer that the canary expects."""
    boxes = [
        (box.label, expected[BoxStage.COARSE])
        for box, expected in zip(canary.candidates, canary.expected, strict=True)
        if BoxStage.COARSE in expected
    ]

    def spoil(number, right):
        by_label: dict[str, list[bool]] = {}
        for label, kept in boxes:
            by_label.setdefault(label, []).append(kept)
        for entry in right["boxes"]:
            entry["verdict"] = "keep" if by_label[entry["label"]].pop(0) else "drop"
        return right

    return spoil


def record(verifier, config, canary):
    return asyncio.run(audit_record(verifier, canary, config.grounding, config.judge))


def test_a_canary_goes_through_every_check_that_it_has_an_expectation_of(verifier, config) -> None:
    canary = canary_images()[0]
    verifier.spoil["box_coarse"] = lambda number, right: {
        "boxes": [{**box, "verdict": "drop"} for box in right["boxes"]]
    }
    said = record(verifier, config, canary)
    assert json.loads(json.dumps(said)) == said and said["canary"] == canary.canary_id
    for box in said["boxes"]:
        assert set(box["said"]) == set(box["expected"])
    assert [box["said"].get("coarse") for box in said["boxes"] if box["kind"] == "good"].count(False) >= 3
    assert all(box["said"]["crops"] is True for box in said["boxes"] if "crops" in box["expected"])
    assert said["calls"] == len(verifier.of("box_crop")) + 3 and said["slips"] == {}
    asked = verifier.read(verifier.of("box_presence")[0])["phrases"]
    there = [box for box in said["boxes"] if "presence" in box["expected"]]
    assert [box["kind"] == "there" for box in there] == [box["expected"]["presence"] for box in there]
    assert len(asked) == len(there) and {box["kind"] for box in there} == {"there", "not_there"}


def test_a_verifier_that_answers_as_expected_raises_no_alarm(verifier, config) -> None:
    audit = BoxAudit(config.grounding)
    for canary in canary_images():
        verifier.spoil["box_coarse"] = coarse_right(canary)
        said = record(verifier, config, canary)
        for box in said["boxes"]:
            box["said"] = {stage: box["expected"][stage] for stage in box["said"]}
        assert audit.add(said) == ""
    report = audit.report()
    assert (
        report["alarm"] == "" and report["checks"]["coarse"]["agreed"] == report["checks"]["coarse"]["asked"]
    )
    assert (
        set(report["kinds"]) == KINDS | {"there", "not_there"} and report["checks"]["coarse"]["ci"][0] > 0.9
    )


@pytest.mark.parametrize(
    ("verdict", "named"), [("keep", "kind oversized"), ("keep", "kind half"), ("drop", "kind good")]
)
def test_a_verifier_that_says_the_same_to_all_raises_an_alarm_once(verdict, named, verifier, config) -> None:
    verifier.spoil["box_coarse"] = lambda number, right: {
        "boxes": [{**box, "verdict": verdict} for box in right["boxes"]]
    }
    verifier.spoil["box_crop"] = lambda number, right: {**right, "verdict": verdict}
    audit = BoxAudit(config.grounding)
    told = [
        audit.add(record(verifier, config, variant(canary, round_)))
        for round_ in range(2)
        for canary in canary_images()
    ]
    assert sum(named in text for text in told) == 1
    assert named in audit.report()["alarm"] and "vlm.model" in audit.report()["alarm"]


@pytest.mark.parametrize("verdict", ["drop", "unsure"])
def test_an_unsure_verdict_agrees_with_a_known_no_and_with_no_yes(verdict, verifier, config) -> None:
    verifier.spoil["box_crop"] = lambda number, right: {**right, "verdict": verdict}
    said = record(verifier, config, canary_images()[0])
    expected = [box["expected"]["crops"] for box in said["boxes"] if "crops" in box["expected"]]
    audit = BoxAudit(config.grounding)
    audit.add(said)
    counts = audit.report()["checks"]["crops"]
    assert 0 < expected.count(False) < len(expected)
    assert (counts["asked"], counts["agreed"]) == (len(expected), expected.count(False))


def test_missing_verdicts_are_no_disagreement(verifier, config) -> None:
    for head in ("box_coarse", "box_crop", "box_duplicates"):
        verifier.spoil[head] = lambda number, right: JudgeReply(None, "down")
    audit = BoxAudit(config.grounding)
    for canary in canary_images():
        assert audit.add(record(verifier, config, canary)) == ""
    report = audit.report()
    assert report["checks"]["crops"]["asked"] == 0 and report["checks"]["crops"]["missing"] > 30


def mined(slips: dict[str, int], calls: int = 3) -> MinedImage:
    return MinedImage("a.png", "key", 10, 10, (), (), (), calls=calls, slips=slips)


def test_a_verifier_that_changes_its_index_base_in_mid_run_is_noticed_once() -> None:
    watch = SlipWatch()
    assert [watch.add(mined({})) for _ in range(500)] == [""] * 500
    told = [watch.add(mined({"zero_based": 2})) for _ in range(30)]
    assert [at for at, text in enumerate(told) if text] == [3] and "4 of the last 40" in told[3]
    assert [watch.add(mined({})) for _ in range(60)] == [""] * 60
    assert any(watch.add(mined({"wrong_label": 1})) for _ in range(10))


def test_single_slips_other_slips_and_pictures_without_calls_are_no_change() -> None:
    watch = SlipWatch()
    for at in range(400):
        slips = {"zero_based": 1} if at % 20 == 0 else {"omitted": 1}
        assert watch.add(mined(slips)) == ""
        assert watch.add(mined({"zero_based": 1}, calls=0)) == ""
