"""Counts of a mining run, and which of its pictures are shown."""

from dataclasses import replace

import pytest
from mined import box

from valor_ray.records import BoxStage, MinedImage
from valor_ray.report.grounding.summary import (
    SHOWN,
    Fate,
    Kind,
    MiningSummary,
    checks_passed,
    fate_of,
    kinds_of,
    presence_of,
)


def picture(*fates: str, phrases: tuple[str, ...] = ("red ball",)) -> MinedImage:
    return MinedImage("a.png", "key", 100, 80, ("q",), phrases, tuple(box(said) for said in fates))


@pytest.mark.parametrize(
    ("said", "fate", "passed"),
    [
        ("kkk", Fate.KEPT, 3),
        ("d", Fate.COARSE, 0),
        ("kd", Fate.CROPS, 1),
        ("u", Fate.COARSE, 0),
        ("ku", Fate.CROPS, 1),
        ("kkd", Fate.DUPLICATE, 2),
        ("m", Fate.MISSING, 0),
        ("kkm", Fate.MISSING, 2),
        ("", Fate.MISSING, 0),
        ("kk", Fate.MISSING, 2),
        ("md", Fate.CROPS, 0),
    ],
)
def test_where_a_box_ended(said: str, fate: Fate, passed: int) -> None:
    assert (fate_of(box(said)), checks_passed(box(said))) == (fate, passed)


@pytest.mark.parametrize(
    ("fates", "kinds"),
    [
        (("kkk", "kkk"), {Kind.ALL_KEPT}),
        ((), {Kind.EMPTY}),
        (("kkk", "d"), {Kind.COARSE}),
        (("d", "kd"), {Kind.COARSE, Kind.CROPS, Kind.NONE_KEPT}),
        (("kkk", "kkd", "m"), {Kind.DUPLICATES, Kind.MISSING}),
    ],
)
def test_kinds_of_pictures(fates: tuple[str, ...], kinds: set[Kind]) -> None:
    assert kinds_of(picture(*fates)) == kinds


def test_of_phrases_without_a_box_it_counts_what_the_verifier_says() -> None:
    mined = replace(
        picture(phrases=("Red Ball", "cup", "blue box", "cone", "jug")),
        boxes=(
            box("kkk", "red ball"),
            box("d", "cup"),
            box("m", "blue box"),
            box("u", "jug"),
            box("d", "jug"),
        ),
    )
    assert presence_of(mined) == {"cup": "not asked", "cone": "not asked"}
    asked = replace(mined, presence={"Cup": None, "cone": "absent"})
    assert presence_of(asked) == {"cup": "no verdict", "cone": "absent"}
    summary = MiningSummary()
    summary.add(asked)
    assert summary.presence == {"no verdict": 1, "absent": 1}


def test_counts_by_stage() -> None:
    summary = MiningSummary()
    summary.add(picture("kkk", "kkd", "ku", "u", "km"))
    summary.add(replace(picture("kkk", "m"), slips={"omitted": 2}))
    assert list(summary.stages()) == [
        (BoxStage.CANDIDATES, 7, 0, 0),
        (BoxStage.COARSE, 5, 1, 1),
        (BoxStage.CROPS, 3, 1, 1),
        (BoxStage.DUPLICATES, 2, 1, 0),
    ]
    assert summary.images == 2 and summary.slips == {"omitted": 2}
    assert summary.kinds[Kind.MISSING] == 2


def test_few_pictures_are_all_shown_in_their_order() -> None:
    summary = MiningSummary()
    mined = [replace(picture("kkk"), key=str(n)) for n in range(SHOWN)]
    for each in mined:
        summary.add(each)
    assert summary.shown() == mined


def test_each_kind_is_shown_however_rare_and_memory_is_bounded() -> None:
    summary = MiningSummary()
    rare = {5: ("m",), 4000: (), 9999: ("kkd", "kkk")}
    for n in range(10_000):
        summary.add(replace(picture(*rare.get(n, ("kkk",))), key=str(n)))
    shown = summary.shown()
    assert len(shown) == SHOWN and {"5", "4000", "9999"} <= {each.key for each in shown}
    places = [int(each.key) for each in shown]
    assert places == sorted(places) and 3500 < sum(places) / len(places) < 6500  # from everywhere
    held = sum(len(reservoir.held) for reservoir in summary._drawn.values())
    assert held <= 2 * SHOWN


def test_the_same_records_show_the_same_pictures() -> None:
    def shown() -> list[MinedImage]:
        summary = MiningSummary()
        for n in range(1000):
            summary.add(replace(picture("kkk" if n % 2 else "d"), key=str(n)))
        return summary.shown()

    assert shown() == shown()
