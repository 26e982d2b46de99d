"""The general set as read: what is at fault is named by file, field and row, and no model has run by then."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from valor_ray.config.service import ImageConfig
from valor_ray.errors import ConfigError
from valor_ray.grounding.gate.general import GeneralBox, read_general


def write(folder: Path, **fields: Any) -> Path:
    """A set of two pictures of 40x30 px; fields: in place of the JSON's own, None: left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / name)
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 3, "file_name": "b.png", "width": 40, "height": 30},
        ],
        "annotations": [
            {"id": 0, "image_id": 3, "category_id": 90, "bbox": [1, 2.5, 10, 20], "iscrowd": 0},
            {
                "id": 1,
                "image_id": 7,
                "category_id": 1,
                "bbox": [0, 0, 4, 0],
                "iscrowd": 1,
                "segmentation": {},
            },
        ],
        "categories": [{"id": 90, "name": "Tooth-brush"}, {"id": 1, "name": "dining table"}],
    } | fields
    (folder / "coco.json").write_text(
        json.dumps({name: value for name, value in content.items() if value is not None})
    )
    return folder / "coco.json"


def test_ids_become_places_and_names_are_spelt_as_they_are_asked(tmp_path: Path) -> None:
    general = read_general(write(tmp_path), None, None)
    assert general.categories == ("tooth brush", "dining table")
    assert [image.path for image in general.images] == [tmp_path / "a.png", tmp_path / "b.png"]
    assert general.boxes == (
        GeneralBox(1, 0, (1, 2.5, 10, 20), crowd=False),
        GeneralBox(0, 1, (0, 0, 4, 0), crowd=True),
    )


def test_a_limit_takes_the_first_pictures_and_pictures_may_lie_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path / "x")
    images = json.loads(path.read_text())["images"][::-1]
    (tmp_path / "x").rename(tmp_path / "pictures")
    path = tmp_path / "general.json"
    path.write_text(
        json.dumps(json.loads((tmp_path / "pictures/coco.json").read_text()) | {"images": images})
    )
    general = read_general(path, tmp_path / "pictures", 1)
    assert [image.path.name for image in general.images] == ["b.png"]
    assert [box.image for box in general.boxes] == [0]


ROW = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 4]}
PICTURE = {"id": 7, "file_name": "a.png", "width": 40, "height": 30}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"categories": None}, r"categories: Field required"),
        ({"categories": []}, r"categories: .*at least 1"),
        ({"images": []}, r"images: .*at least 1"),
        ({"images": None}, r"images: Field required"),
        ({"annotations": None}, r"annotations: Field required"),
        ({"annotations": [ROW, ROW | {"bbox": [0, 0, 4]}]}, r"annotations\[1\]\.bbox\[3\]"),
        ({"annotations": [ROW, ROW | {"bbox": [0, 0, 4, 4, 4]}]}, r"annotations\[1\]\.bbox: .*at most 4"),
        ({"annotations": [ROW | {"bbox": [0, 0, -4, 4]}]}, r"annotations\[0\]\.bbox\[2\]"),
        ({"annotations": [ROW | {"bbox": [0, float("nan"), 4, 4]}]}, r"annotations\[0\]\.bbox\[1\]"),
        ({"annotations": [ROW | {"bbox": {"x": 1}}]}, r"annotations\[0\]\.bbox"),
        ({"annotations": [ROW, ROW, ROW | {"category_id": 5}]}, r"annotations\[2\]\.category_id: 5 is no id"),
        ({"annotations": [ROW | {"image_id": 8}]}, r"annotations\[0\]\.image_id: 8 is no id"),
        ({"annotations": [ROW | {"iscrowd": 1}]}, r"annotations: the first 2 pictures hold no box"),
        ({"images": [PICTURE, PICTURE]}, r"images\[1\]\.id: 7 is the id of images\[0\] too"),
        ({"images": [PICTURE | {"id": "7"}]}, r"images\[0\]\.id"),
        ({"images": [PICTURE | {"width": 30, "height": 40}]}, r"images\[0\]: .*a\.png is 40x30 px"),
        ({"images": [PICTURE | {"file_name": "gone.png"}]}, r"images\[0\]\.file_name: .*gone\.png \(No such"),
        ({"categories": [{"id": 1, "name": "cup"}, {"id": 1, "name": "mug"}]}, r"categories\[1\]\.id"),
        (
            {"categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "Cup"}]},
            r"categories\[1\]\.name: 'cup'",
        ),
        ({"categories": [{"id": 1, "name": " ? "}]}, r"categories\[0\]\.name"),
    ],
)
def test_faults_are_named_by_file_field_and_row(tmp_path: Path, fields: dict[str, Any], where: str) -> None:
    path = write(tmp_path, **({"annotations": [ROW]} | fields))
    with pytest.raises(ConfigError, match=rf"coco\.json, {where}"):
        read_general(path, None, None)


def test_a_file_that_is_no_json_or_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text('{"images": [')
    for name, words in (("coco.json", "the file: Invalid JSON"), ("none.json", "No such file")):
        with pytest.raises(ConfigError, match=rf"{name}.*{words}"):
            read_general(tmp_path / name, None, None)


def test_a_file_that_is_no_picture_and_one_that_is_too_large_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, annotations=[ROW])
    with pytest.raises(ConfigError, match=r"images\[0\]\.file_name: .*a\.png has more than 100 pixels"):
        read_general(path, None, None, ImageConfig(max_pixels=100))
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(
        ConfigError, match=r"images\[1\]\.file_name: cannot read .*b\.png \(This is not a picture"
    ):
        read_general(path, None, None)
    assert len(read_general(path, None, 1).images) == 1  # not among the first


def test_a_turned_picture_has_the_size_that_people_see(tmp_path: Path) -> None:
    path = write(tmp_path, annotations=[ROW])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save(tmp_path / "a.png", exif=exif)
    assert len(read_general(path, None, None).images) == 2
