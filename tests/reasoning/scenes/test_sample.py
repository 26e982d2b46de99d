"""Scenes for questions: what must hold of every one, and of the eight together."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations, pairwise

import pytest

from valor_ray.program.inside.scene_words import Language
from valor_ray.reasoning.scenes.sample import phrase_of, sample_scenes
from valor_ray.records import NamedThing, QuestionThings, SceneObject, SymbolicScene

COLOURS = {"colour": ("red", "blue", "green", "yellow")}
SHAPES = {"shape": ("box", "ball", "cylinder", "cone")}


def one(noun: str, **attributes: str) -> NamedThing:
    return NamedThing(noun, attributes, False)


def several(noun: str, **attributes: str) -> NamedThing:
    return NamedThing(noun, attributes, True)


QUESTIONS: dict[str, QuestionThings] = {
    "How many red boxes are there?": QuestionThings(
        (several("box", colour="red"),), COLOURS, ("ball", "cone"), "count"
    ),
    "Is there a red box?": QuestionThings((several("box", colour="red"),), COLOURS, ("ball",), "yes or no"),
    "What colour is the ball?": QuestionThings((one("ball"),), COLOURS, ("box", "cone"), "word"),
    "What shape is the red object?": QuestionThings(
        (one("", colour="red"),), {**COLOURS, **SHAPES}, (), "word"
    ),
    "Which is closer, the red ball or the blue box?": QuestionThings(
        (one("ball", colour="red"), one("box", colour="blue")), COLOURS, ("cone",), "word"
    ),
    "What colour is the leftmost box?": QuestionThings((several("box"),), COLOURS, ("ball",), "word"),
    "What shape is the closest red object?": QuestionThings(
        (several("", colour="red"),), {**COLOURS, **SHAPES}, (), "word"
    ),
    "How many boxes are left of the red ball?": QuestionThings(
        (several("box"), one("ball", colour="red")), COLOURS, ("cone",), "count"
    ),
    "How many boxes are left of the red box?": QuestionThings(
        (several("box"), one("box", colour="red")), COLOURS, ("cone",), "count"
    ),
    "Are there more balls than boxes?": QuestionThings(
        (several("ball"), several("box")), COLOURS, ("cone",), "yes or no"
    ),
    "How many objects are there?": QuestionThings((several("object"),), COLOURS, ("cup", "plate"), "count"),
    "If the sofa is 2 m wide, how wide is the coffee table?": QuestionThings(
        (one("sofa"), one("Coffee Table")), {}, ("lamp", "dining chair", "rug"), "number"
    ),
    "Is the wooden chair as red as the stool next to the two lamps?": QuestionThings(
        (one("chair", material="wooden"), one("stool"), several("lamp")),
        {**COLOURS, "material": ("wooden", "plastic", "metal")},
        ("person", "window"),
        "yes or no",
    ),
    "Which is bigger, the cat, the dog or the bed?": QuestionThings(
        (one("cat"), one("dog"), one("bed")), {}, (), "word"
    ),
}
MANY = pytest.mark.parametrize("question", QUESTIONS)


@cache
def scenes_of(question: str) -> tuple[SymbolicScene, ...]:
    return sample_scenes(question, QUESTIONS[question])


def matched(question: str, scene: SymbolicScene) -> list[list[SceneObject]]:
    language = Language(scenes_of(question))
    readings = [language.read(phrase_of(thing)) for thing in QUESTIONS[question].things]
    return [[each for each in scene.objects if reading and reading.fits(each)] for reading in readings]


@MANY
def test_there_are_eight_scenes_and_always_the_same(question: str) -> None:
    assert len(scenes_of(question)) == 8 and scenes_of(question) == sample_scenes(
        question, QUESTIONS[question]
    )
    assert all(3 <= len(scene.objects) <= 7 for scene in scenes_of(question))
    assert sample_scenes(question + " ", QUESTIONS[question]) != scenes_of(question)


@MANY
def test_what_is_one_is_matched_by_exactly_one_object(question: str) -> None:
    for scene in scenes_of(question):
        for thing, matches in zip(QUESTIONS[question].things, matched(question, scene), strict=True):
            assert len(matches) == 1 or thing.several
            assert len(matches) <= 4 or phrase_of(thing) == "object"


def shares(a: SceneObject, b: SceneObject, axis: int) -> bool:
    """Whether two boxes overlap along one axis."""
    return a.bbox[axis] < b.bbox[axis + 2] and b.bbox[axis] < a.bbox[axis + 2]


def intersect(a: SceneObject, b: SceneObject) -> bool:
    return shares(a, b, 0) and shares(a, b, 1)


@MANY
def test_first_edges_centres_and_last_edges_agree_and_no_boxes_intersect(question: str) -> None:
    for scene in scenes_of(question):
        for a, b in combinations(scene.objects, 2):
            assert not intersect(a, b)
            for at in (0, 1):
                first, last = a.bbox[at] - b.bbox[at], a.bbox[at + 2] - b.bbox[at + 2]
                assert (first < 0) == (last < 0) == (first + last < 0)
                assert min(abs(first), abs(last)) >= 2


@MANY
def test_quantities_lie_on_ladders(question: str) -> None:
    def ratios(values: list[float]) -> list[float]:
        return [b / a for a, b in pairwise(sorted(values))]

    for scene in scenes_of(question):
        width, height = scene.image_size
        assert min(ratios([each.depth_m for each in scene.objects])) >= 1.18
        assert min(ratios([each.height for each in scene.objects])) >= 1.25
        assert min(ratios([each.width for each in scene.objects])) >= 1.25
        for each in scene.objects:
            x1, y1, x2, y2 = each.bbox
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
            assert each.height == pytest.approx((y2 - y1) * each.depth_m, rel=1e-3)
            assert each.width == pytest.approx((x2 - x1) * each.depth_m, rel=1e-3)


Measure = Callable[[SceneObject], float]
MEASURES: dict[str, Measure] = {
    "left": lambda o: o.bbox[0], "above": lambda o: o.bbox[1], "closer": lambda o: o.depth_m,
    "shorter": lambda o: o.height, "narrower": lambda o: o.width,
}  # fmt: skip
PAIRS = [
    question
    for question, things in QUESTIONS.items()
    if len(things.things) > 1 and not any(thing.several for thing in things.things[:2])
]


@pytest.mark.parametrize("question", PAIRS)
def test_every_comparison_of_two_things_has_both_answers_and_pixels_mislead_in_some(question: str) -> None:
    pairs = [[each[0] for each in matched(question, scene)[:2]] for scene in scenes_of(question)]
    for measure in MEASURES.values():
        answers = [measure(a) < measure(b) for a, b in pairs]
        assert [even != odd for even, odd in zip(answers[::2], answers[1::2], strict=True)] == [True] * 4
    pixels = [(a.height < b.height) != (a.height / a.depth_m < b.height / b.depth_m) for a, b in pairs]
    assert pixels == [True, True] + [False] * 6
    looks = [((b.bbox[3] - b.bbox[1]) - (a.bbox[3] - a.bbox[1])) * (b.depth_m - a.depth_m) for a, b in pairs]
    assert [each > 0 for each in looks] == [False, False, True, True] * 2
    stand_ins = (("shorter", "narrower"), ("closer", "above"))
    for one_, other in stand_ins:
        agree = [
            (MEASURES[one_](a) < MEASURES[one_](b)) == (MEASURES[other](a) < MEASURES[other](b))
            for a, b in pairs
        ]
        assert 2 <= sum(agree) <= 6


def mixed_edges(a: SceneObject, b: SceneObject, at: int) -> bool:
    """ "Left of", or above, by the last edge of one and the first of the other."""
    return a.bbox[at + 2] < b.bbox[at]


def centres(a: SceneObject, b: SceneObject, at: int) -> bool:
    return a.bbox[at] + a.bbox[at + 2] < b.bbox[at] + b.bbox[at + 2]


def area(thing: SceneObject) -> float:
    return (thing.bbox[2] - thing.bbox[0]) * (thing.bbox[3] - thing.bbox[1])


@pytest.mark.parametrize("question", PAIRS)
def test_flawed_comparisons_of_two_things_are_wrong_in_both_orders_somewhere(question: str) -> None:
    pairs = [[each[0] for each in matched(question, scene)[:2]] for scene in scenes_of(question)]
    for a, b in (*pairs[:2], *pairs[6:]):
        at = 0 if [a, b] in pairs[:2] else 1
        assert shares(a, b, at) and not mixed_edges(a, b, at) and not mixed_edges(b, a, at)
        assert 10 < abs(a.bbox[at] + a.bbox[at + 2] - b.bbox[at] - b.bbox[at + 2]) / 2 < 37
    for a, b in (*pairs[2:4], *pairs[6:]):
        assert (area(a) > area(b)) != (a.depth_m < b.depth_m)
    assert all(abs(a.depth_m - b.depth_m) < 0.25 for a, b in pairs[2:4])
    assert pairs[2][0].depth_m < pairs[2][1].depth_m or pairs[3][0].depth_m < pairs[3][1].depth_m


def test_flawed_counts_beside_something_are_wrong_somewhere() -> None:
    question = "How many boxes are left of the red ball?"
    scenes = [(matched(question, s)[1][0], matched(question, s)[0]) for s in scenes_of(question)]
    for at in (0, 1):
        wrong = [
            sum(mixed_edges(box, ball, at) for box in boxes) != sum(centres(box, ball, at) for box in boxes)
            for ball, boxes in scenes
        ]
        beyond = [
            sum(mixed_edges(ball, box, at) for box in boxes) != sum(centres(ball, box, at) for box in boxes)
            for ball, boxes in scenes
        ]
        assert any(wrong) and any(beyond)
    behind = [
        sum(box.depth_m > ball.depth_m for box in boxes)
        - sum(box.depth_m > ball.depth_m + 0.25 for box in boxes)
        for ball, boxes in scenes
    ]
    smaller = [
        sum(box.depth_m > ball.depth_m for box in boxes) - sum(area(box) < area(ball) for box in boxes)
        for ball, boxes in scenes
    ]
    assert any(behind) and any(smaller)


def test_the_closest_is_not_the_largest_in_half_of_the_scenes() -> None:
    question = "What shape is the closest red object?"
    groups = [matched(question, scene)[0] for scene in scenes_of(question)]
    differ = [min(g, key=lambda o: o.depth_m).noun != max(g, key=area).noun for g in groups]
    assert differ[2] and differ[3] and differ[6] and differ[7]


@pytest.mark.parametrize(
    ("question", "attribute"),
    [("What colour is the leftmost box?", "colour"), ("What shape is the closest red object?", "shape")],
)
def test_extremes_of_a_kind_differ_in_what_is_asked(question: str, attribute: str) -> None:
    scenes = scenes_of(question)
    for measure in MEASURES.values():
        lows = []
        for scene in scenes:
            (group,) = matched(question, scene)
            low, high = min(group, key=measure), max(group, key=measure)
            assert len(group) >= 2 and low.attributes[attribute] != high.attributes[attribute]
            lows.append(low.attributes[attribute])
        assert all(a != b for a, b in zip(lows[::2], lows[1::2], strict=True))


def test_counts_differ_between_scenes_and_are_nought_in_some() -> None:
    counts = [
        len(matched("How many red boxes are there?", s)[0])
        for s in scenes_of("How many red boxes are there?")
    ]
    assert set(counts) == {0, 1, 2, 3, 4}
    there = [bool(matched("Is there a red box?", s)[0]) for s in scenes_of("Is there a red box?")]
    assert there.count(True) == 4


def test_two_counted_kinds_never_tie_and_each_is_more_in_half() -> None:
    question = "Are there more balls than boxes?"
    pairs = [[len(matches) for matches in matched(question, scene)] for scene in scenes_of(question)]
    assert sum(balls > boxes for balls, boxes in pairs) == sum(balls < boxes for balls, boxes in pairs) == 4
    assert 0 in {balls for balls, _ in pairs} and 0 in {boxes for _, boxes in pairs}


def test_what_is_asked_of_one_thing_takes_several_values() -> None:
    question = "What colour is the ball?"
    colours = [matched(question, scene)[0][0].attributes["colour"] for scene in scenes_of(question)]
    assert len(set(colours)) == 4
    question = "What shape is the red object?"
    assert all(o.attributes["shape"] == o.noun for scene in scenes_of(question) for o in scene.objects)
    assert len({matched(question, scene)[0][0].noun for scene in scenes_of(question)}) >= 3


def test_distractors_share_the_noun_or_the_attribute() -> None:
    question = "How many red boxes are there?"
    others = {
        (o.noun == "box", o.attributes["colour"] == "red") for s in scenes_of(question) for o in s.objects
    }
    assert others == {(True, True), (True, False), (False, True), (False, False)}


ODD = {
    "nothing named": QuestionThings((), COLOURS, ("ball",), "word"),
    "one and the same twice": QuestionThings((one("box"), several("box")), {}, (), "count"),
    "only anything": QuestionThings((one("object"),), {}, (), "word"),
    "one of what is everything": QuestionThings((one(""), several("box")), COLOURS, (), "word"),
    "a place as attribute": QuestionThings((one("box", position="leftmost"),), {"position": ("left",)}, (), "word"),
    "no values": QuestionThings((one("box"),), {"colour": ()}, (), "word"),
    "signs": QuestionThings((one("?!"), one("")), {"": ("",), "??": ("!",)}, ("", "…"), ""),
    "half a character": QuestionThings((one("\ud800box"),), {"colour": ("\ud800",)}, ("\ud800",), "word"),
    "long": QuestionThings((one("x" * 3000),), {"colour": ("y" * 3000,)}, ("z" * 3000,), "word"),
    "many": QuestionThings(tuple(one(f"thing{i}") for i in range(9)), {}, (), "word"),
    "unicode": QuestionThings((one("写真"), one("Ärmelkanal")), {"Größe": ("groß",)}, ("ж",), "word"),
    "a kind of a kind": QuestionThings((one("table"), one("coffee table")), {}, ("dining table",), "word"),
    "three kinds": QuestionThings((several("a"), several("b"), several("c")), {}, (), "count"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("answer", ["word", "count", "yes or no", "number", "", "essay"])
def test_odd_things_give_fewer_scenes_never_an_exception(name: str, answer: str) -> None:
    things = QuestionThings(ODD[name].things, ODD[name].attributes, ODD[name].others, answer)
    for scene in sample_scenes(name, things, 8):
        assert 3 <= len(scene.objects) <= 7
        for a, b in combinations(scene.objects, 2):
            assert not intersect(a, b)


@pytest.mark.parametrize("count", [0, 1, 3, 12, 40])
def test_as_many_scenes_as_asked_for(count: int) -> None:
    question = "What colour is the ball?"
    assert len(sample_scenes(question, QUESTIONS[question], count)) == count
