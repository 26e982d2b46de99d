"""ODVG as other tools read it."""

from __future__ import annotations

import json

import pytest

from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.odvg import extended, read_label_map, read_odvg

ODD = [
    "red, shiny cube",
    'St. Bernard\'s "dog"',
    "łódź 小舟 🚤",
    "a\nb\tc",
    " ".join(f"word{number}" for number in range(300)),
    "back\\slash / slash",
]


def test_lines_are_as_the_format_says(mined, box, export, folder):
    export(
        mined("/pics/a.jpg", box("Red-Cube", (1, 2, 30.5, 40))), mined("/pics/b.jpg", box("dog", said="n"))
    )
    lines = (folder / "odvg.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "filename": "a.jpg",
            "height": 100,
            "width": 200,
            "detection": {"instances": [{"bbox": [1, 2, 30.5, 40], "label": 0, "category": "red cube"}]},
        },
        {"filename": "b.jpg", "height": 100, "width": 200, "detection": {"instances": []}},
    ]
    assert json.loads((folder / "label_map.json").read_text()) == {"0": "red cube"}


def test_odd_labels_come_back(mined, box, export, folder):
    boxes = [box(label, (0, 0, 9 + place, 9)) for place, label in enumerate(ODD)]
    counts = export(mined("a", *boxes))
    (image,) = read_odvg(folder)
    labels = read_label_map(folder / "label_map.json")
    assert [each.bbox for each in image.instances] == [each.bbox for each in boxes]
    assert [labels[each.label] for each in image.instances] == [each.category for each in image.instances]
    assert image.instances[0].category == "red shiny cube"
    assert image.instances[1].category == 'st bernard\'s "dog"'
    assert image.instances[2].category == "łódź 小舟 🚤"
    assert len(image.instances[4].category.split()) == 300
    assert counts.labels == len(labels) == len(ODD)


def test_labels_are_stable_when_labels_are_added_and_when_theirs_have_gone(mined, box, export, folder):
    export(mined("a", box("zebra"), box("cup", (60, 60, 70, 70))))
    export(mined("b", box("apple")), mined("a", box("cup")))
    assert read_label_map(folder / "label_map.json") == ("zebra", "cup", "apple")
    assert [image.instances[0].label for image in read_odvg(folder)] == [2, 1]


def test_extended_never_renumbers():
    assert extended(("b", "a"), ("c", "a", "d")) == {"b": 0, "a": 1, "c": 2, "d": 3}


INSTANCE = {"bbox": [0, 0, 5, 5], "label": 0, "category": "cup"}
RECORD = {"filename": "a.png", "height": 10, "width": 20, "detection": {"instances": [INSTANCE]}}


def instance(**other):
    return {**RECORD, "detection": {"instances": [{**INSTANCE, **other}]}}


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        ({**RECORD, "filename": ""}, "filename"),
        ({**RECORD, "filename": 7}, "filename"),
        ({**RECORD, "width": 20.0}, "whole pixels"),
        ({**RECORD, "height": 0}, "whole pixels"),
        ({**RECORD, "width": True}, "whole pixels"),
        ({**RECORD, "detection": {}}, "instances"),
        ({**RECORD, "detection": {"instances": {}}}, "must be a list"),
        ({"filename": "a"}, "width"),
        (instance(label=1), "not in the label map"),
        (instance(label=-1), "not in the label map"),
        (instance(label="0"), "not in the label map"),
        (instance(category="mug"), "'mug'"),
        (instance(bbox=[0, 0, 5]), "four numbers"),
        (instance(bbox=[0, 0, float("nan"), 5]), "four numbers"),
        (instance(bbox=["0", 0, 5, 5]), "four numbers"),
        (instance(bbox=[5, 0, 5, 5]), "empty"),
        (instance(bbox=[0, 0, 20.5, 5]), "leaves the picture"),
        (instance(bbox=[-1, 0, 5, 5]), "leaves the picture"),
        ([], "record"),
        (None, "record"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, record, wrong):
    (tmp_path / "label_map.json").write_text('{"0": "cup"}')
    (tmp_path / "odvg.jsonl").write_text(json.dumps(RECORD) + "\n" + json.dumps(record) + "\n")
    with pytest.raises(ConfigError, match=r"odvg\.jsonl line 2 ") as error:
        list(read_odvg(tmp_path))
    assert wrong in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "[]x", '{"1": "cup"}', '{"0": ""}', '{"0": "a", "1": "a"}', "7", '["cup"]']
)
def test_a_wrong_label_map_is_named(tmp_path, text):
    (tmp_path / "label_map.json").write_text(text)
    with pytest.raises(ConfigError, match=r"label_map\.json is no label map"):
        read_label_map(tmp_path / "label_map.json")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="label_map"):
        list(read_odvg(tmp_path))
    (tmp_path / "label_map.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"odvg\.jsonl cannot be read"):
        list(read_odvg(tmp_path))
