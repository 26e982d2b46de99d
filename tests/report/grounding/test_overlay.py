"""Boxes over a picture: what is drawn lies in the picture, and what is gone is said to be so."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from mined import box, mined, saved_picture

from valor_ray.report.grounding.overlay import SIDE, Thumbnail, drawing, thumbnail

PLAIN = Thumbnail("data:image/jpeg;base64,AA==")


def numbers(text: str, *names: str) -> list[float]:
    return [float(n) for n in re.findall(rf' (?:{"|".join(names)})="(-?[\d.]+)"', text)]


def test_boxes_are_scaled_with_the_picture(tmp_path: Path) -> None:
    """200x100 px are drawn 320 wide: a box of 10..60 x 20..70 px begins at 16, 32 and is 80 by 80."""
    text = drawing(mined(tmp_path / "a.png", box("kkk")), [0], PLAIN)
    assert f'viewBox="0 0 {SIDE:.1f} 160.0"' in text
    assert '<rect class="edge" x="16.0" y="32.0" width="80.0" height="80.0"/>' in text
    assert text.count('<g class="mark kept" data-n="1" data-passed="3">') == 2  # box and number


@pytest.mark.parametrize(
    "bbox",
    [
        (-50, -50, 500, 500),
        (199, 99, 200, 100),
        (0, 0, 0, 0),
        (150, 90, 400, 95),
        (300, 300, 400, 400),
        (0, 0, 1e300, 5),
    ],
)
def test_boxes_over_the_edge_and_of_no_size_stay_in_the_frame(tmp_path: Path, bbox) -> None:
    text = drawing(mined(tmp_path / "a.png", box("kkk", bbox=bbox)), [0], PLAIN)
    assert all(0 <= n <= SIDE for n in numbers(text, "x", "y", "width", "height"))


@pytest.mark.parametrize("bbox", [(float("nan"), 0, 5, 5), (0, 0, float("inf"), 5), (60, 0, 10, 5)])
def test_what_is_no_box_is_not_drawn(tmp_path: Path, bbox) -> None:
    assert "<g" not in drawing(mined(tmp_path / "a.png", box("kkk", bbox=bbox)), [0], PLAIN)


def test_numbers_of_boxes_on_one_object_do_not_cover_each_other(tmp_path: Path) -> None:
    text = drawing(mined(tmp_path / "a.png", *[box("kkd") for _ in range(6)]), range(6), PLAIN)
    chips = re.findall(r'class="chip" x="([\d.]+)" y="([\d.]+)"', text)
    assert len(set(chips)) == 6


def test_kept_boxes_lie_on_top(tmp_path: Path) -> None:
    text = drawing(mined(tmp_path / "a.png", box("kkk"), box("d"), box("kd")), [0, 1, 2], PLAIN)
    assert text.index('"mark coarse"') < text.index('"mark crops"') < text.index('"mark kept"')


def test_a_thumbnail_is_small(tmp_path: Path) -> None:
    picture = saved_picture(tmp_path / "big.png", 2000, 1500)
    record = replace(mined(tmp_path / "a.png"), image=str(tmp_path / "big.png"), key=picture.key)
    thumb = thumbnail(record, tmp_path)
    assert thumb.uri.startswith("data:image/jpeg;base64,") and len(thumb.uri) < 100_000
    assert thumb.problem == ""


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("/nowhere/a.png", "Cannot read"),
        ("https://host/a.png", "at an address"),
        ("file:///nowhere/a.png", "Cannot read"),
        ("hf://x/a.png", "at an address"),
        ("", "Cannot read"),
        ("/a\ud800.png", "of no file"),
        ("/a\0.png", "of no file"),
        ("/" + "a" * 5000, "of no file"),
        ("data:image/png;base64,!!", "cannot be shown"),
    ],
)
def test_a_picture_that_is_gone_is_said_to_be(tmp_path: Path, image: str, said: str) -> None:
    thumb = thumbnail(replace(mined(tmp_path / "a.png"), image=image), tmp_path / "run")
    assert thumb.uri == "" and said in thumb.problem


def test_a_picture_that_has_changed_is_said_to_have(tmp_path: Path) -> None:
    record = mined(tmp_path / "a.png")
    saved_picture(tmp_path / "a.png", 201)
    thumb = thumbnail(record, tmp_path)
    assert thumb.uri and "changed" in thumb.problem


@pytest.mark.parametrize("image", ["/elsewhere/a photo.png", "data/images/a photo.png"])
def test_pictures_of_a_run_folder_that_was_moved_are_shown(tmp_path: Path, image: str) -> None:
    record = replace(mined(tmp_path / "data" / "images" / "a photo.png"), image=image)
    assert thumbnail(record, tmp_path).uri


def test_an_address_of_a_file_is_read(tmp_path: Path) -> None:
    record = mined(tmp_path / "a photo.png")
    assert thumbnail(replace(record, image=f"file://{tmp_path}/a%20photo.png"), tmp_path).problem == ""
