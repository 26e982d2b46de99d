"""Where pictures lie; photographs that EXIF turns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError
from valor_ray.grounding.dataset.odvg import read_odvg
from valor_ray.grounding.dataset.pictures import Pictures, load_picture
from valor_ray.grounding.dataset.training import training_images

LIMITS = ImageConfig()
RED = (30, 10, 50, 20)  # the red part of a photograph as one sees it, 60 wide and 40 high


def photograph(path: Path, orientation: int = 1) -> Path:
    """A file whose viewer shows a red part on blue at RED, whatever the order of its pixels."""
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:, :, 2] = 200
    upright[RED[1] : RED[3], RED[0] : RED[2]] = (220, 0, 0)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, 3),
    }[orientation]
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(path, quality=95, subsampling=0, exif=exif)
    return path


@pytest.fixture
def shot(mined, box):
    """A mined photograph whose confirmed box is the red part."""

    def record(path: Path):
        picture = images.load(path, LIMITS)
        boxes = (box("red part", RED),)
        return mined(str(path), *boxes, size=(picture.width, picture.height), key=picture.key)

    return record


def is_red(rgb: np.ndarray) -> None:
    """The pixels are upright, and the red part is where the box says."""
    assert rgb.shape == (40, 60, 3)
    red = rgb[:, :, 0] > 110
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == RED


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_boxes_and_pixels_agree_for_training_and_for_plain_readers(
    shot, export, folder, tmp_path, orientation, suffix
):
    path = photograph(tmp_path / f"photo.{suffix}", orientation)
    export(shot(path))
    (entry,) = training_images(folder)
    assert entry.copied is (orientation > 1)
    is_red(load_picture(entry, LIMITS).rgb)
    (record,) = read_odvg(folder)
    root = json.loads((folder / "dataset.json").read_text())["root"]
    with Image.open(folder / root / record.filename) as plain:
        assert plain.size == (record.width, record.height) == (60, 40)
        is_red(np.asarray(plain.convert("RGB")))
    assert record.instances[0].bbox == RED


def test_an_upright_copy_is_made_once(shot, export, folder, tmp_path):
    record = shot(photograph(tmp_path / "photo.jpg", 6))
    export(record)
    (copy,) = (folder / "images").iterdir()
    made = copy.stat().st_mtime_ns
    export(record)
    assert [each.stat().st_mtime_ns for each in (folder / "images").iterdir()] == [made]
    assert copy.suffix == ".jpg"


def test_filenames_are_relative_to_the_folder_that_all_pictures_share(shot, export, folder, tmp_path):
    (tmp_path / "pics/deep").mkdir(parents=True)
    export(shot(photograph(tmp_path / "pics/a.png")), shot(photograph(tmp_path / "pics/deep/b.jpg")))
    assert json.loads((folder / "dataset.json").read_text())["root"] == str(tmp_path / "pics")
    assert [each.filename for each in read_odvg(folder)] == ["a.png", "deep/b.jpg"]
    for entry in training_images(folder):
        is_red(load_picture(entry, LIMITS).rgb)


def test_a_run_that_rendered_its_pictures_can_be_moved(shot, export, folder, tmp_path):
    (tmp_path / "run/data").mkdir(parents=True)
    export(shot(photograph(tmp_path / "run/data/a.png")))
    assert json.loads((folder / "dataset.json").read_text())["root"] == "../data"
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    (entry,) = training_images(moved / "dataset")
    is_red(load_picture(entry, LIMITS).rgb)


def test_copies_beside_other_pictures_are_named_in_full(shot, export, folder, tmp_path):
    (tmp_path / "pics").mkdir()
    export(shot(photograph(tmp_path / "pics/a.png")), shot(photograph(tmp_path / "pics/b.jpg", 3)))
    names = [each.filename for each in read_odvg(folder)]
    assert names[0] == "a.png"
    assert Path(names[1]).parent == folder / "images"
    assert [load_picture(each, LIMITS).width for each in training_images(folder)] == [60, 60]


def test_urls_stay_as_they_are_and_files_without_a_common_folder_are_absolute(mined, box, export, folder):
    one, other = mined("/pics/a.png", box("cup")), mined("/data/b.png", box("cup"))
    far, local = mined("https://host/c.png", box("cup")), mined("file:///data/d%20e.png", box("cup"))
    export(one, other, far, local)
    assert json.loads((folder / "dataset.json").read_text())["root"] is None
    names = [each.filename for each in read_odvg(folder)]
    assert names == ["/pics/a.png", "/data/b.png", "https://host/c.png", "/data/d e.png"]
    with pytest.raises(ImageError, match="Download"):
        load_picture(list(training_images(folder))[2], LIMITS)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_that_has_changed_since_is_refused(shot, export, folder, tmp_path, orientation):
    record = shot(photograph(tmp_path / "photo.png", orientation))
    Image.new("RGB", (60, 40)).save(tmp_path / "photo.png")
    export(record)
    (entry,) = training_images(folder)
    with pytest.raises(ImageError, match="has changed since"):
        load_picture(entry, LIMITS)


def test_a_photograph_put_in_place_of_a_mined_one_is_not_copied_for_it(shot, export, folder, tmp_path):
    record = shot(photograph(tmp_path / "photo.jpg", 6))
    photograph(tmp_path / "photo.jpg", 3)
    export(record)
    assert not (folder / "images").exists()


def test_a_picture_that_has_gone_keeps_its_copy(shot, export, folder, tmp_path):
    record = shot(photograph(tmp_path / "photo.jpg", 6))
    export(record)
    (tmp_path / "photo.jpg").unlink()
    export(record)
    (entry,) = training_images(folder)
    is_red(load_picture(entry, LIMITS).rgb)


def test_a_picture_that_was_scaled_down_is_copied_as_it_was_mined(tmp_path: Path, mined) -> None:
    limits = ImageConfig(max_pixels=1000)
    path = photograph(tmp_path / "photo.png")
    picture = images.load(path, limits)
    assert (picture.width, picture.height) == (30, 20)
    pictures = Pictures(tmp_path / "set", limits)
    pictures.add(mined(str(path), size=(30, 20), key=picture.key))
    name, copied = pictures.filename(picture.key)
    copy = images.load(tmp_path / "set" / "images" / name, limits)
    assert copied and copy.key == picture.key
