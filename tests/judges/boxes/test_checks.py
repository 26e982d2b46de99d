"""The three checks over a scripted verifier: what goes on, what is asked again, what a failure costs."""

from __future__ import annotations

import asyncio
import json
import math

import numpy as np
import pytest

from valor_ray.errors import JudgeError
from valor_ray.judges.boxes.checks import BoxChecks, check_boxes
from valor_ray.records import BoxStage, Detection, JudgeReply, MinedImage, Usage


def check(verifier, picture, config, candidates, start: int = 0, **grounding) -> BoxChecks:
    settings = config.grounding.model_copy(update=grounding)
    return asyncio.run(check_boxes(verifier, picture, candidates, settings, config.judge, start))


def apart(*labels: str) -> list[Detection]:
    """Boxes that do not touch."""
    return [
        Detection((10 + 60 * at, 20, 60 + 60 * at, 90), label, 0.9 - at / 100)
        for at, label in enumerate(labels)
    ]


def kept(checks: BoxChecks) -> list[bool | None]:
    return [box.kept for box in checks.boxes]


def stages(checks: BoxChecks, at: int) -> list[tuple[str, bool | None, str]]:
    return [(each.stage.value, each.kept, each.by) for each in checks.boxes[at].decisions]


def test_boxes_go_on_up_to_the_first_check_that_does_not_keep_them(verifier, picture, config) -> None:
    checks = check(verifier, picture, config, apart("cup", "bad cup", "poor cup"))
    assert kept(checks) == [True, False, False]
    assert stages(checks, 0) == [
        ("coarse", True, "scripted"), ("crops", True, "scripted"), ("duplicates", True, "geometry"),
    ]  # fmt: skip
    assert stages(checks, 1) == [("coarse", False, "scripted")]
    assert stages(checks, 2)[-1] == ("crops", False, "scripted")
    assert [[request.head for request in asked] for asked in verifier.asks] == [
        ["box_coarse"],
        ["box_crop"] * 2,
    ]
    assert checks.boxes[0].decisions[0].reason == "saw 1"


def test_no_candidate_makes_no_call(verifier, picture, config) -> None:
    assert check(verifier, picture, config, []) == BoxChecks((), 0, 0, 0, 0, 0.0, {})
    assert verifier.asks == []


def test_boxes_without_an_area_in_the_picture_are_dropped_by_geometry(verifier, picture, config) -> None:
    nowhere = [(400, 10, 500, 50), (math.nan, 0, 9, 9), (50, 50, 50, 90), (90, 90, 80, 99), (-9, -9, 0, 4)]
    candidates = [Detection(bbox, "cup", 0.5) for bbox in nowhere]
    checks = check(verifier, picture, config, candidates)
    assert kept(checks) == [False] * 5 and verifier.asks == []
    assert {stages(checks, at)[0] for at in range(5)} == {("coarse", False, "geometry")}
    assert all(math.isfinite(side) for box in checks.boxes for side in box.bbox)
    mixed = check(verifier, picture, config, [candidates[1], *apart("cup")])
    assert kept(mixed) == [False, True]


def test_boxes_over_the_edge_and_of_a_pixel_are_asked_about_clipped(verifier, picture, config) -> None:
    bboxes = [(-20, -20, 40, 40), (380, 280, 480, 380), (100, 100, 101, 101), (200, 50, 200.4, 50.3)]
    checks = check(verifier, picture, config, [Detection(bbox, "cup", 0.5) for bbox in bboxes])
    assert kept(checks) == [True] * 4
    assert [box.bbox for box in checks.boxes[:2]] == [(0, 0, 40, 40), (380, 280, 400, 300)]


@pytest.mark.parametrize("labels", [3, 900])
def test_nine_hundred_candidates_take_forty_five_coarse_calls(labels, verifier, picture, config) -> None:
    rng = np.random.default_rng(0)
    places = rng.permutation(900)
    candidates = [
        Detection((x * 12.0, y * 10.0, x * 12 + 9.0, y * 10 + 8.0), f"cup {at % labels}", 0.5)
        for at, (x, y) in enumerate((int(place) % 30, int(place) // 30) for place in places)
    ]
    checks = check(verifier, picture, config, candidates, crop_side=64)
    assert kept(checks) == [True] * 900
    assert len(verifier.of("box_coarse")) == 45 and len(verifier.of("box_crop")) == 900
    assert [len(asked) for asked in verifier.asks] == [45, 900] and checks.calls == 945
    if labels == 3:  # boxes of one phrase stand together
        named = [{box["label"] for box in verifier.read(each)["boxes"]} for each in verifier.of("box_coarse")]
        assert all(len(names) == 1 for names in named)


@pytest.mark.parametrize(
    ("slip", "spoil"),
    [
        ("omitted", lambda boxes: boxes[:-1]),
        ("repeated", lambda boxes: [*boxes, boxes[0]]),
        ("invented", lambda boxes: [*boxes, {**boxes[0], "index": 9}]),
        ("zero_based", lambda boxes: [{**box, "index": box["index"] - 1} for box in boxes]),
        ("zero_based", lambda boxes: [{**box, "label": boxes[box["index"] % 3]["label"]} for box in boxes]),
        ("wrong_label", lambda boxes: [{**boxes[0], "label": "spoon"}, *boxes[1:]]),
    ],
)  # fmt: skip
def test_a_slip_is_asked_again_once_with_what_was_wrong(slip, spoil, verifier, picture, config) -> None:
    verifier.spoil["box_coarse"] = lambda number, right: (
        {"boxes": spoil(right["boxes"])} if number == 0 else right
    )
    checks = check(verifier, picture, config, apart("cup", "bad plate", "fork"))
    assert kept(checks) == [True, False, True] and checks.slips == {slip: 1}
    first, *again = verifier.of("box_coarse")
    assert len(again) == 1
    assert checks.calls == 3 + len(again) and checks.completion_tokens == 10 * checks.calls
    for request in again:
        text = request.messages[-1]["content"][-1]["text"]
        assert "could not be used" in text and text != first.messages[-1]["content"][-1]["text"]


def test_only_boxes_in_doubt_are_asked_again_numbered_from_one(verifier, picture, config) -> None:
    verifier.spoil["box_coarse"] = lambda number, right: (
        {"boxes": [right["boxes"][0], right["boxes"][2]]} if number == 0 else right
    )
    check(verifier, picture, config, apart("cup", "plate", "fork"))
    again = verifier.read(verifier.of("box_coarse")[1])
    assert [(box["index"], box["label"]) for box in again["boxes"]] == [(1, "plate")]
    assert "left out box 1" in again["text"]


@pytest.mark.parametrize("labels", [("cup", "plate", "fork"), ("cup", "cup", "cup")])
def test_a_verifier_that_goes_on_counting_from_zero_leaves_boxes_missing(
    labels, verifier, picture, config
) -> None:
    verifier.spoil["box_coarse"] = lambda number, right: {
        "boxes": [{**box, "index": box["index"] - 1} for box in right["boxes"]]
    }
    checks = check(verifier, picture, config, apart(*labels), ask_again=2)
    assert kept(checks) == [None] * 3 and checks.slips == {"zero_based": 3}
    assert "zero_based" in checks.boxes[0].decisions[0].reason
    assert (
        len({json.dumps(each.messages) for each in verifier.of("box_coarse")}) == 3
    )  # never a stored answer
    assert verifier.of("box_crop") == []


def test_a_verifier_that_repeats_its_slip_is_asked_as_often_as_configured(verifier, picture, config) -> None:
    verifier.spoil["box_coarse"] = lambda number, right: {"boxes": right["boxes"][:-1]}
    for again in (0, 1, 3):
        verifier.asks.clear()
        checks = check(verifier, picture, config, apart("cup", "plate", "fork"), ask_again=again)
        assert kept(checks) == [True, True, None]
        assert len(verifier.of("box_coarse")) == 1 + again


@pytest.mark.parametrize("again", [0, 1])
def test_the_next_start_asks_anew_where_the_stored_answer_cannot_be_used(
    again, verifier, picture, config
) -> None:
    verifier.spoil["box_coarse"] = lambda number, right: (
        {"boxes": right["boxes"][:-1]} if number < 1 + again else right
    )
    candidates = apart("cup", "plate")
    assert kept(check(verifier, picture, config, candidates, ask_again=again)) == [True, None]
    verifier.spoil["box_coarse"] = lambda number, right: (
        {"boxes": right["boxes"][:-1]} if number == 1 + again else right
    )
    checks = check(verifier, picture, config, candidates, start=1, ask_again=again)  # the first is stored
    assert kept(checks) == [True, True]
    assert (checks.cache_hits, checks.calls) == (
        2,
        2,
    )  # coarse and the first crop stored; asked anew, and a crop


def test_a_failed_call_costs_only_its_own_boxes(verifier, picture, config) -> None:
    verifier.spoil["box_coarse"] = lambda number, right: (
        JudgeReply(None, "down", Usage(tries=5)) if number == 1 else right
    )
    verifier.spoil["box_crop"] = lambda number, right: JudgeReply(None, "refused") if number == 2 else right
    checks = check(verifier, picture, config, apart(*"abcdef"), boxes_per_picture=2)
    assert kept(checks) == [True, True, None, None, None, True]
    assert [checks.boxes[at].decisions[-1].reason for at in (2, 3, 4)] == ["down", "down", "refused"]
    assert stages(checks, 2) == [("coarse", None, "")] and stages(checks, 4)[-1] == ("crops", None, "")
    assert checks.calls == 2 + 5 + 3


def test_a_judge_that_must_fail_every_time_ends_it(picture, config) -> None:
    class Refused:
        async def ask(self, requests):
            raise JudgeError("wrong key")

    with pytest.raises(JudgeError, match="wrong key"):
        check(Refused(), picture, config, apart("cup"))


def test_stored_answers_are_counted_as_such_and_cost_nothing(verifier, picture, config) -> None:
    first = check(verifier, picture, config, apart("cup", "plate"))
    second = check(verifier, picture, config, apart("cup", "plate"))
    assert (first.calls, first.cache_hits, first.prompt_tokens) == (3, 0, 300)
    assert (second.calls, second.cache_hits, second.prompt_tokens, second.cost_usd) == (0, 3, 0, 0)
    assert first.boxes == second.boxes and first.cost_usd == pytest.approx(0.003)


def test_votes_count_the_tries_of_all_judges(verifier, picture, config) -> None:
    usage = Usage(0.1, 300, 30, 0.003, tries=4, model="a+b+c")
    verifier.spoil["box_crop"] = lambda number, right: JudgeReply(right, usage=usage)
    checks = check(verifier, picture, config, apart("cup"))
    assert checks.calls == 1 + 4 and checks.boxes[0].decisions[1].by == "a+b+c"


@pytest.mark.parametrize(
    "label", ["cup, plate. bowl", 'a "cup"', "two\nlines", "杯子 ☕ кружка", "word " * 300]
)
def test_labels_of_every_kind_go_through_all_checks(label, verifier, picture, config) -> None:
    candidates = [*apart(label, "cup"), Detection((14, 24, 60, 90), label, 0.4)]
    checks = check(verifier, picture, config, candidates)
    assert kept(checks) == [True, True, False]
    assert [box.label for box in checks.boxes] == [label, "cup", label]
    assert verifier.of("box_duplicates")


def test_a_verdict_of_another_word_is_missing(verifier, picture, config) -> None:
    verifier.spoil["box_crop"] = lambda number, right: JudgeReply({"reason": "", "verdict": "yes"})
    checks = check(verifier, picture, config, apart("cup"))
    assert kept(checks) == [None] and "'yes'" in checks.boxes[0].decisions[1].reason


@pytest.mark.parametrize("head", ["box_coarse", "box_crop"])
def test_an_unsure_verdict_drops_the_box_and_says_so(head, verifier, picture, config) -> None:
    def unsure(number, right):
        if head == "box_crop":
            return {**right, "verdict": "unsure"} if number == 0 else right
        first, *others = right["boxes"]
        return {"boxes": [{**first, "verdict": "unsure"}, *others]}

    verifier.spoil[head] = unsure
    checks = check(verifier, picture, config, apart("cup", "poor cup"))
    assert kept(checks) == [False, False] and [box.unsure for box in checks.boxes] == [True, False]
    last = checks.boxes[0].decisions[-1]
    assert (last.stage, last.kept, last.unsure, bool(last.reason), last.by) == (
        BoxStage.COARSE if head == "box_coarse" else BoxStage.CROPS, False, True, True, "scripted",
    )  # fmt: skip
    assert not verifier.of("box_duplicates") and checks.slips == {}


def test_checks_fit_into_the_record_of_a_picture(verifier, picture, config) -> None:
    checks = check(verifier, picture, config, [*apart("cup"), Detection((math.nan,) * 4, "cup", 0.1)])
    image = MinedImage("a.png", picture.key, 400, 300, ("q",), ("cup",), checks.boxes, slips=checks.slips)
    kept_line = json.dumps(image.to_record(), allow_nan=False)
    assert MinedImage.from_record(json.loads(kept_line)).boxes == checks.boxes
    assert checks.boxes[0].passed(BoxStage.DUPLICATES)
