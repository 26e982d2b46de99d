"""What verification says of boxes and phrases."""

from __future__ import annotations

import pytest

from valor_ray.grounding.dataset.negatives import Standing, Why, sides, standing
from valor_ray.grounding.dataset.synonyms import Synonyms

LEFT, RIGHT = (0, 0, 40, 40), (100, 0, 140, 40)


def known(image, *pairs):
    return sides(image, Synonyms(pairs))


def test_a_confirmed_box_is_positive_under_its_normal_form(mined, box):
    (positive,) = known(mined("a", box("Coffee-Table", LEFT))).positives
    assert (positive.phrase, positive.bbox, positive.why) == ("coffee table", LEFT, "")


@pytest.mark.parametrize(
    ("verdicts", "absent"),
    [
        ((), True),
        (("n",), True),
        (("n", "yn"), True),
        (("n", "?"), False),
        (("n", "y?"), False),
        (("n", "yy?"), False),
        (("n", ""), False),
        (("yyn",), False),
        (("u",), False),
        (("n", "yu"), False),
        (("n", "yyy"), False),
    ],
)
def test_a_phrase_is_absent_when_the_verifier_refused_all_its_boxes(mined, box, verdicts, absent):
    boxes = [box("dog", (20 * place, 0, 20 * place + 9, 9), said) for place, said in enumerate(verdicts)]
    assert known(mined("a", *boxes, asked=("dog",))).absent == (("dog",) if absent else ())


@pytest.mark.parametrize("said", ["present", "unsure", None, "absent"])
def test_only_what_the_verifier_calls_absent_is_absent(mined, box, said):
    """What it says is there somewhere, or not at all, is no negative beyond its refused boxes."""
    image = mined("a", box("dog", LEFT, "n"), asked=("cat",), presence={"Dog": said, "cat": said})
    side = known(image)
    assert side.absent == (("cat", "dog") if said == "absent" else ())
    assert [(each.phrase, each.bbox) for each in side.hard_negatives] == [("dog", LEFT)]
    assert standing(image) is (Standing.REJECTED if said == "absent" else Standing.UNDECIDED)


def test_records_of_before_the_question_have_nothing_absent(mined, box):
    image = mined("a", box("cup", LEFT), box("dog", RIGHT, "n"), asked=("cat",), presence={})
    assert known(image).absent == ()
    assert standing(mined("a", asked=("cat",), presence={})) is Standing.UNDECIDED


def test_a_phrase_that_may_name_what_is_said_to_be_there_is_not_absent(mined):
    image = mined(
        "a",
        asked=("cube", "red cube", "dog"),
        presence=dict(cube="absent", dog="absent") | {"red cube": "present"},
    )
    assert known(image).absent == ("dog",)


@pytest.mark.parametrize("kept", ["red cube", "cubes", "block"])
def test_a_phrase_that_may_name_a_confirmed_object_is_not_absent(mined, box, kept):
    image = mined("a", box(kept, LEFT), asked=("cube", "dog"))
    assert known(image, ("cube", "block")).absent == ("dog",)
    assert ("cube" in known(image).absent) is (kept == "block")


@pytest.mark.parametrize("said", ["n", "yn"])
def test_a_refused_box_is_a_hard_negative(mined, box, said):
    side = known(mined("a", box("dog", LEFT, said), box("cat", LEFT)))
    assert [(each.phrase, each.bbox) for each in side.hard_negatives] == [("dog", LEFT)]
    assert side.ignored == ()
    assert side.absent == ("dog",)


@pytest.mark.parametrize(("height", "ignored"), [(20, True), (19.9, False)])  # IoU with LEFT: 0.5 and less
def test_a_poor_box_of_a_confirmed_object_is_ignored(mined, box, height, ignored):
    poor = (0, 0, 40, height)
    side = known(mined("a", box("cup", LEFT), box("cup", poor, "n")))
    assert [each.bbox for each in side.ignored] == ([poor] if ignored else [])
    assert [each.bbox for each in side.hard_negatives] == ([] if ignored else [poor])
    assert all(each.why == Why.INEXACT for each in side.ignored)


@pytest.mark.parametrize(("kept", "ignored"), [("red cup", True), ("mug", True), ("plate", False)])
def test_a_refused_box_of_another_name_is_ignored_where_that_may_name_the_object(mined, box, kept, ignored):
    side = known(mined("a", box(kept, LEFT), box("cup", LEFT, "n")), ("cup", "mug"))
    assert bool(side.ignored) is ignored
    assert bool(side.hard_negatives) is not ignored


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", Why.UNVERIFIED),
        ("?", Why.UNVERIFIED),
        ("y?", Why.UNVERIFIED),
        ("yyn", Why.DUPLICATE),
        ("u", Why.UNSURE),
        ("yu", Why.UNSURE),
    ],
)
def test_duplicates_and_boxes_without_a_sure_verdict_are_ignored(mined, box, said, why):
    side = known(mined("a", box("cup", LEFT), box("cup", RIGHT, said)))
    assert [(each.bbox, each.why) for each in side.ignored] == [(RIGHT, why)]
    assert side.hard_negatives == ()


@pytest.mark.parametrize("said", ["u", "yu"])
def test_a_phrase_that_the_verifier_is_unsure_of_is_no_negative_anywhere_near(mined, box, said):
    phrase = "box behind the ball"
    near, far = (0, 0, 40, 30), (100, 0, 140, 40)  # IoU with LEFT: 0.75, 0
    boxes = (box(phrase, LEFT, said), box(phrase, near, "n"), box(phrase, far, "n"), box("dog", LEFT, "n"))
    side = known(mined("a", *boxes, asked=("cat",)))
    assert side.absent == ("cat", "dog")
    assert [(each.phrase, each.bbox) for each in side.hard_negatives] == [(phrase, far), ("dog", LEFT)]
    assert [(each.bbox, each.why) for each in side.ignored] == [(LEFT, Why.UNSURE), (near, Why.INEXACT)]


def test_every_box_is_on_exactly_one_side(mined, box):
    boxes = [
        box("cup", (number * 3, 0, number * 3 + 30, 30 + number), said)
        for number, said in enumerate(("yyy", "n", "yn", "yyn", "?", "y?", "yy?", "u", "yu", "yyy"))
    ]
    side = known(mined("a", *boxes))
    listed = [each.bbox for each in (*side.positives, *side.hard_negatives, *side.ignored)]
    assert sorted(listed) == sorted(each.bbox for each in boxes)


def test_standing_of_a_picture(mined, box):
    assert standing(mined("a", box("cup"), box("dog", RIGHT, "?"))) is Standing.CONFIRMED
    assert standing(mined("a", box("cup", said="n"))) is Standing.REJECTED
    assert standing(mined("a", asked=("cup",))) is Standing.REJECTED
    assert standing(mined("a", box("cup", said="n"), box("dog", RIGHT, "?"))) is Standing.UNDECIDED
    assert standing(mined("a", box("cup", said="n"), box("dog", RIGHT, "yu"))) is Standing.UNDECIDED
    assert standing(mined("a", box("cup"), box("dog", RIGHT, "u"))) is Standing.CONFIRMED
