"""Every slip of an answer is seen, named, and costs only the boxes that it puts in doubt."""

from __future__ import annotations

from typing import Any

import pytest

from valor_ray.judges.boxes.partition import SLIPS, correction, read_coarse, read_duplicates

ABC = ("red cup", "blue cup", "plate")
SAME = ("cup", "cup", "cup")


def said(*entries: tuple[Any, str] | tuple[Any, str, str]) -> dict[str, Any]:
    return {
        "boxes": [
            {"index": entry[0], "label": entry[1], "reason": "r", "verdict": [*entry, "keep"][2]}
            for entry in entries
        ]
    }


def objects(*entries: tuple[list[int], int]) -> dict[str, Any]:
    return {"objects": [{"indices": indices, "best": best, "reason": "r"} for indices, best in entries]}


@pytest.mark.parametrize(
    ("labels", "content", "slips", "counted"),
    [
        (ABC, said((1, "red cup"), (2, "blue cup", "drop"), (3, "plate")), {}, {1, 2, 3}),
        (ABC, said((3, "Plate."), (1, " RED  cup"), (2.0, "“blue cup”")), {}, {1, 2, 3}),
        (ABC, said((1, "red cup"), (3, "plate")), {"omitted": (2,)}, {1, 3}),
        (
            ABC,
            said((1, "red cup"), (1, "red cup"), (2, "blue cup"), (3, "plate")),
            {"repeated": (1,)},
            {2, 3},
        ),
        (
            ABC,
            said((1, "red cup"), (2, "blue cup"), (3, "plate"), (7, "fork")),
            {"invented": (7,)},
            set(),
        ),
        (ABC, said((0, "red cup"), (1, "blue cup"), (2, "plate")), {"zero_based": ()}, set()),
        (ABC, said((0, "red cup"), (1, "red cup"), (2, "blue cup")), {"zero_based": ()}, set()),
        (ABC, said((0, "red cup"), (2, "plate")), {"zero_based": ()}, set()),
        (SAME, said((0, "cup"), (1, "cup"), (2, "cup")), {"zero_based": ()}, set()),
        # the base is shifted, but the indices are in range
        (ABC, said((1, "blue cup"), (2, "plate"), (3, "red cup")), {"zero_based": ()}, set()),
        (ABC, said((1, "blue cup"), (2, "plate")), {"omitted": (3,), "zero_based": ()}, set()),
        (ABC, said((2, "red cup"), (3, "blue cup")), {"omitted": (1,), "zero_based": ()}, set()),
        # labels cannot tell whether the last box was left out or the first was called 0 and left out
        (SAME, said((1, "cup"), (2, "cup")), {"omitted": (3,)}, set()),
        (SAME, said((2, "cup"), (3, "cup")), {"omitted": (1,)}, set()),
        (SAME, said((1, "cup"), (2, "cup"), (3, "cup"), (4, "cup")), {"invented": (4,)}, set()),
        (SAME, said((1, "cup"), (3, "cup")), {"omitted": (2,)}, {1, 3}),
        (ABC, said((1, "red cup"), (2, "cup"), (3, "plate")), {"wrong_label": (2,)}, {1, 3}),
        (ABC, said((1, "x"), (2, "y"), (3, "z")), {"wrong_label": (1, 2, 3)}, set()),
        (("cup",), said((1, "mug")), {"wrong_label": (1,)}, set()),
        (("cup",), said((0, "cup")), {"zero_based": ()}, set()),
        (ABC, said(), {"omitted": (1, 2, 3)}, set()),
        (
            ABC,
            said((-1, "red cup"), (2, "blue cup"), (3, "plate")),
            {"omitted": (1,), "invented": (-1,)},
            set(),
        ),
    ],
)
def test_slips_of_a_coarse_answer(labels, content, slips, counted) -> None:
    reading = read_coarse(content, labels)
    assert (reading.slips, set(reading.verdicts)) == (slips, counted)
    assert set(reading.slips) <= set(SLIPS)


def test_verdicts_are_those_of_their_boxes() -> None:
    reading = read_coarse(said((3, "plate", "drop"), (1, "red cup"), (2, "blue cup", "unsure")), ABC)
    assert {index: verdict for index, (verdict, _reason) in reading.verdicts.items()} == {
        1: "keep",
        2: "unsure",
        3: "drop",
    }


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"boxes": "all"},
        {"boxes": [1]},
        {"boxes": [{"index": True, "label": "cup", "reason": "", "verdict": "keep"}]},
        {"boxes": [{"index": 1, "label": "cup", "reason": "", "verdict": "yes"}]},
        {"boxes": [{"index": 1.5, "label": "cup", "reason": "", "verdict": "keep"}]},
        {"boxes": [{"index": 1, "reason": "", "verdict": "keep"}]},
    ],
)
def test_an_answer_of_another_form_counts_for_nothing(content) -> None:
    assert read_coarse(content, ("cup",)).slips == {"malformed": ()}
    assert read_duplicates({"objects": content.get("boxes")}, [[1, 2]]).doubtful == (1, 2)


def test_the_echo_of_a_long_label_may_stop_after_sixty_characters() -> None:
    long = "a cup " * 200
    assert read_coarse(said((1, long[:60])), (long,)).slips == {}
    assert read_coarse(said((1, long[:30])), (long,)).slips == {"wrong_label": (1,)}


@pytest.mark.parametrize(
    "label", ["кружка, 杯子. ☕", 'a "cup"', "two\nlines", "ＣＵＰ", "...", "half \ud83d"]
)
def test_labels_of_every_kind_are_known_again(label) -> None:
    echo = label.encode("utf-8", "replace").decode()
    assert read_coarse(said((1, echo), (2, "plate")), (label, "plate")).slips == {}


@pytest.mark.parametrize(
    ("content", "slips", "doubtful"),
    [
        (objects(([1, 2], 1), ([3], 3), ([4], 4)), {}, ()),
        (objects(([1, 2], 1), ([3], 3)), {"omitted": (4,)}, (3, 4)),
        (objects(([1, 2], 1), ([3, 3], 3), ([4], 4)), {"repeated": (3,)}, (3, 4)),
        (objects(([1], 1), ([1, 2], 1), ([3, 4], 3)), {"repeated": (1,)}, (1, 2)),
        (objects(([0, 1], 0), ([2], 2), ([3], 3)), {"zero_based": ()}, (1, 2, 3, 4)),
        (objects(([1, 2], 3), ([3], 3), ([4], 4)), {"wrong_best": (1, 2)}, (1, 2)),
        (objects(([1, 2], 1), ([3], 3), ([4, 9], 9)), {"invented": (9,)}, (1, 2, 3, 4)),
        (objects(([1, 2], 1), ([3], 3), ([4], 4), ([9], 9)), {"invented": (9,)}, (1, 2, 3, 4)),
        (objects(([1, 3], 1), ([2], 2), ([4], 4)), {"refuted": (1, 3)}, ()),
    ],
)
def test_slips_of_an_answer_about_duplicates(content, slips, doubtful) -> None:
    reading = read_duplicates(content, [[1, 2], [3, 4]])
    assert (reading.slips, reading.doubtful) == (slips, doubtful)
    settled = sorted(index for group in reading.groups for index in group.indices)
    assert settled == sorted({1, 2, 3, 4} - set(doubtful))
    assert all(group.best in group.indices for group in reading.groups)


def test_a_correction_names_what_was_wrong_by_the_new_numbers() -> None:
    text = correction({"omitted": (2,), "repeated": (5,), "invented": (9,)}, {2: 1, 5: 2}, asking=2)
    assert "left out box 1." in text and "more than once about box 2." in text and "no box has: 9." in text
    assert "Asking 2" in text and text != correction({"omitted": (2,)}, {2: 1}, asking=3)
    assert "not 0" in correction({"zero_based": ()}, {1: 1}, asking=2)
