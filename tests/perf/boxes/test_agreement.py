"""JPEG and PNG are asked about the same boxes; agreement counts where both have a verdict."""

from __future__ import annotations

import asyncio

from valor_ray.perf.boxes.agreement import compare_formats
from valor_ray.records import Detection, JudgeReply


def boxes(*labels: str) -> list[Detection]:
    return [Detection((10 + 60 * at, 20, 60 + 60 * at, 90), label, 0.5) for at, label in enumerate(labels)]


def compare(verifier, config, *pictures):
    return asyncio.run(compare_formats(verifier, pictures, config.grounding, config.judge))


def test_both_formats_are_asked_and_equal_verdicts_agree(verifier, picture, config) -> None:
    said = compare(
        verifier, config, (picture, boxes("cup", "bad cup", "poor cup")), (picture, boxes("plate"))
    )
    assert {name: (each["boxes"], each["agreed"]) for name, each in said.items()} == {
        "coarse": (4, 4), "crops": (3, 3), "duplicates": (2, 2), "kept": (4, 4),
    }  # fmt: skip
    kinds = {
        request.messages[1]["content"][0]["image_url"]["url"][:14] for request in verifier.of("box_crop")
    }
    assert kinds == {"data:image/jpe", "data:image/png"}


def test_other_verdicts_and_missing_ones_are_told_apart(verifier, picture, config) -> None:
    verifier.spoil["box_crop"] = lambda number, right: (
        {**right, "verdict": "drop"} if number == 0 else JudgeReply(None, "down") if number == 1 else right
    )
    said = compare(verifier, config, (picture, boxes("cup", "plate")))
    assert (said["crops"]["boxes"], said["crops"]["agreed"], said["crops"]["share"]) == (1, 0, 0)
    assert said["kept"]["boxes"] == 1 and said["coarse"]["agreed"] == 2


def test_unsure_and_drop_are_the_same_end_of_a_box(verifier, picture, config) -> None:
    verifier.spoil["box_crop"] = lambda number, right: {**right, "verdict": ("drop", "unsure")[number]}
    said = compare(verifier, config, (picture, boxes("cup")))
    assert (said["crops"]["boxes"], said["crops"]["agreed"], said["kept"]["agreed"]) == (1, 1, 1)


def test_nothing_to_compare_is_no_share(verifier, picture, config) -> None:
    assert compare(verifier, config, (picture, []))["kept"] == {
        "boxes": 0, "agreed": 0, "share": None, "ci": [0.0, 1.0],
    }  # fmt: skip
