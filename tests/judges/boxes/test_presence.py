"""Which phrases without a box name something in the picture."""

from __future__ import annotations

import asyncio

import pytest

from valor_ray.judges.boxes.geometry import without_box
from valor_ray.judges.boxes.presence import check_presence
from valor_ray.records import BOX_CHECKS, BoxDecision, CheckedBox, JudgeReply, Usage


def check(verifier, config, picture, *phrases, start=0, **settings):
    grounding = config.grounding.model_copy(update=settings)
    return asyncio.run(check_presence(verifier, picture, phrases, grounding, config.judge, start))


def test_all_phrases_are_asked_about_in_one_request_with_one_picture(verifier, picture, config) -> None:
    said = check(verifier, config, picture, "no dog", "red cup", "maybe a hat")
    assert said.verdicts == {"no dog": "absent", "red cup": "present", "maybe a hat": "unsure"}
    (request,) = verifier.of("box_presence")
    assert [each["label"] for each in verifier.read(request)["phrases"]] == list(said.verdicts)
    assert said.account.calls == 1 and not said.account.slips


def test_without_a_phrase_nobody_is_asked(verifier, picture, config) -> None:
    assert check(verifier, config, picture).verdicts == {} and verifier.asks == []


def test_many_phrases_go_into_several_requests(verifier, picture, config) -> None:
    phrases = [f"thing {number}" for number in range(45)]
    said = check(verifier, config, picture, *phrases, boxes_per_picture=20)
    assert len(verifier.of("box_presence")) == 3 and len(verifier.asks) == 1
    assert list(said.verdicts) == phrases and set(said.verdicts.values()) == {"present"}


@pytest.mark.parametrize(
    ("spoil", "slip"),
    [
        (lambda entries: entries[:-1], "omitted"),
        (lambda entries: [*entries, entries[0]], "repeated"),
        (lambda entries: [*entries, {**entries[0], "index": 9}], "invented"),
        (lambda entries: [{**each, "index": each["index"] - 1} for each in entries], "zero_based"),
        (lambda entries: [{**entries[0], "label": "other"}, *entries[1:]], "wrong_label"),
    ],
)
def test_a_doubtful_answer_is_asked_again_about_phrases(verifier, picture, config, spoil, slip) -> None:
    verifier.spoil["box_presence"] = lambda number, right: (
        {"phrases": spoil(right["phrases"])} if number == 0 else right
    )
    said = check(verifier, config, picture, "red cup", "blue hat", "no dog")
    assert said.verdicts == {"red cup": "present", "blue hat": "present", "no dog": "absent"}
    assert said.account.slips == {slip: 1}
    again = verifier.read(verifier.of("box_presence")[1])["text"]
    assert "You were asked about these phrases before" in again and "box" not in again


def test_what_stays_in_doubt_has_no_verdict_which_is_not_absent(verifier, picture, config) -> None:
    verifier.spoil["box_presence"] = lambda number, right: {"phrases": right["phrases"][:1]}
    said = check(verifier, config, picture, "no dog", "no cat")
    assert said.verdicts in ({"no dog": "absent", "no cat": None}, {"no dog": "absent", "no cat": "absent"})
    verifier.spoil["box_presence"] = lambda number, right: {"phrases": []}
    assert check(verifier, config, picture, "no dog").verdicts == {"no dog": None}


def test_a_failed_call_costs_only_its_own_phrases(verifier, picture, config) -> None:
    verifier.spoil["box_presence"] = lambda number, right: (
        JudgeReply(None, "down", Usage(tries=1)) if number == 0 else right
    )
    said = check(verifier, config, picture, "no a", "no b", "no c", boxes_per_picture=2)
    assert sorted(map(str, said.verdicts.values())) == ["None", "None", "absent"]


def test_phrases_whose_box_may_be_right_are_not_asked_about() -> None:
    def box(label: str, kept: bool | None, unsure: bool = False) -> CheckedBox:
        return CheckedBox((0, 0, 1, 1), label, 0.5, (BoxDecision(BOX_CHECKS[0], kept, unsure=unsure),))

    boxes = [box("refused", False), box("Unsure", False, True), box("missing", None), box("missing", False)]
    assert without_box(("none", "refused", "unsure", "missing"), boxes) == ("none", "refused")
