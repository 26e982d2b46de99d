"""What a job of proposals is measured with: scenes to calibrate on, pictures of a run, and what phrases name there."""

import json
from pathlib import Path

import pytest

from valor_ray.benchmarks.proposals import known_pictures, mined_pictures, truths_of
from valor_ray.errors import ConfigError
from valor_ray.records import BOX_CHECKS, BoxDecision, CheckedBox, MinedImage
from valor_ray.tabletop.scenes import COLOURS, LOOKS, SHAPES

A, B, C = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 30.0, 40.0), (50.0, 5.0, 60.0, 25.0)
YES = tuple(BoxDecision(stage, True, "", "vlm") for stage in BOX_CHECKS)


def record(phrases: tuple[str, ...], *boxes: CheckedBox, key: str = "k") -> MinedImage:
    return MinedImage(f"/data/{key}.png", key, 64, 48, ("q",), phrases, boxes)


def run_of(folder: Path, records: list[MinedImage], objects: list[dict] | None = None) -> Path:
    lines = "".join(json.dumps(each.to_record()) + "\n" for each in records)
    (folder / "images.jsonl").write_text(lines)
    if objects is not None:
        (folder / "evaluation").mkdir()
        truth = folder / "evaluation" / "objects.jsonl"
        truth.write_text(json.dumps({"image": "k.png", "objects": objects}) + "\n")
    return folder


def test_scenes_to_calibrate_on_have_their_own_boxes_under_their_labels() -> None:
    known = known_pictures(len(LOOKS))
    assert len({each.picture.key for each in known}) == len(LOOKS)
    for each in known:
        assert sum(map(len, each.truth.values())) >= 3
        for label, boxes in each.truth.items():
            colour, shape = label.split()
            assert colour in COLOURS and shape in SHAPES
            for x1, y1, x2, y2 in boxes:
                assert 0 <= x1 < x2 <= each.picture.width and 0 <= y1 < y2 <= each.picture.height


def test_records_of_the_same_pixels_are_one_picture_with_what_was_kept(tmp_path: Path) -> None:
    dropped = CheckedBox(B, "ball", 0.9, (BoxDecision(BOX_CHECKS[0], False, "", "vlm"),))
    records = [
        record(("ball",), dropped, CheckedBox(A, "ball", 0.3, YES)),
        record((), key="nothing"),
        record(("box",), CheckedBox(C, "box", 0.4, YES)),
        record(("cone",), key="other"),
    ]
    run = run_of(tmp_path, records)
    pictures = mined_pictures(run)
    assert [(each.key, each.phrases) for each in pictures] == [("k", ("ball", "box")), ("other", ("cone",))]
    assert [box.bbox for box in pictures[0].kept] == [C, A] and pictures[1].kept == ()
    assert [each.key for each in mined_pictures(run, 1)] == ["k"]


def test_phrases_name_objects_as_in_the_evaluation_of_mining(tmp_path: Path) -> None:
    objects = [
        {"bbox": A, "colour": "red", "shape": "ball", "visible": 1.0},
        {"bbox": B, "colour": "red", "shape": "box", "visible": 0.9},
        {"bbox": C, "colour": "blue", "shape": "ball", "visible": 0.1},
    ]
    phrases = ("ball", "red ball", "objects", "green cone", "ball behind the box")
    run = run_of(tmp_path, [record(phrases), record(("ball",), key="unknown")], objects)
    truths = truths_of(run, mined_pictures(run))
    assert set(truths) == {"k"}
    truth = truths["k"]
    assert truth["ball"].true == (A,) and truth["ball"].neutral == (C,)
    assert truth["red ball"].true == (A,) and truth["red ball"].neutral == ()
    assert truth["objects"].true == (A, B) and truth["green cone"].true == ()
    assert "ball behind the box" not in truth


def test_without_a_file_of_objects_nothing_is_known_and_a_broken_one_is_told(tmp_path: Path) -> None:
    run = run_of(tmp_path, [record(("ball",))])
    assert truths_of(run, mined_pictures(run)) == {}
    run_of(tmp_path, [record(("ball",))], [{"bbox": [1, 2]}])
    with pytest.raises(ConfigError, match="line 1 holds no objects"):
        truths_of(run, mined_pictures(run))
