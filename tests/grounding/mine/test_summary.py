"""What the records of a mining run add up to."""

from __future__ import annotations

from pathlib import Path

from mined import box

from valor_ray.grounding.mine.summary import add_up
from valor_ray.records import MinedImage


def test_unsure_verdicts_are_counted_apart_and_their_boxes_as_gone(tmp_path: Path) -> None:
    boxes = tuple(box(said) for said in ("kkk", "kkd", "ku", "kd", "u", "u", "d", "m"))
    image = MinedImage("a.png", "key", 100, 80, ("q",), ("red ball",), boxes)
    total = add_up([image], tmp_path / "audit.jsonl")
    assert total["checks"] == {
        "coarse": {"yes": 4, "no": 1, "unsure": 2, "missing": 1},
        "crops": {"yes": 2, "no": 1, "unsure": 1, "missing": 0},
        "duplicates": {"yes": 1, "no": 1, "unsure": 0, "missing": 0},
    }
    assert total["boxes_left"] == {"candidates": 8, "coarse": 4, "crops": 2, "duplicates": 1}
    assert total["missing_boxes"] == 1
