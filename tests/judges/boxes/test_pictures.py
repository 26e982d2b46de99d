"""Sizes at which pictures are sent, and crops that hold the whole box."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from valor_ray.judges.boxes.pictures import crop_pixels, crop_window, data_uri, scaled, sent_size


@pytest.mark.parametrize(
    ("size", "most", "sent"),
    [
        ((256, 256), 1024, (768, 768)),
        ((900, 450), 1024, (900, 450)),
        ((1920, 1440), 1024, (1024, 768)),
        ((256, 128), 512, (512, 256)),
        ((300, 3), 1024, (768, 8)),
        ((2, 200), 64, (1, 64)),
    ],
)
def test_small_pictures_grow_and_large_ones_shrink(size, most, sent) -> None:
    assert sent_size(*size, most) == sent


def test_a_crop_is_padded_by_a_tenth_of_each_side_and_clipped() -> None:
    assert crop_window((100, 100, 200, 150), 400, 300, 0.1) == (90, 95, 210, 155)
    assert crop_window((0, 0, 100, 100), 400, 300, 0.1) == (0, 0, 110, 110)
    assert crop_window((350, 250, 900, 900), 400, 300, 0.1) == (295, 185, 400, 300)


@pytest.mark.parametrize(
    "bbox", [(50, 50, 51, 51), (0, 0, 1, 1), (399, 299, 400, 300), (10.2, 10.2, 10.4, 10.4)]
)
def test_a_box_of_a_pixel_gives_a_crop(bbox) -> None:
    left, top, right, bottom = crop_window(bbox, 400, 300, 0.1)
    assert 0 <= left < right <= 400 and 0 <= top < bottom <= 300
    assert left <= bbox[0] and right >= bbox[2] and top <= bbox[1] and bottom >= bbox[3]
    rgb = np.zeros((300, 400, 3), np.uint8)
    assert max(crop_pixels(rgb, bbox, 0.1, 640).shape) == 640


def test_thin_crops_are_widened_so_that_endpoints_take_them() -> None:
    left, top, right, bottom = crop_window((100, 100, 101, 290), 400, 300, 0.1)
    assert (bottom - top) / (right - left) <= 20
    left, top, right, bottom = crop_window((0, 10, 390, 11), 400, 300, 0.1)
    assert (right - left) / (bottom - top) <= 20 and top == 0


def test_the_long_side_of_a_crop_is_as_configured_up_and_down() -> None:
    rgb = np.zeros((2000, 3000, 3), np.uint8)
    assert crop_pixels(rgb, (0, 0, 40, 20), 0.0, 640).shape == (320, 640, 3)
    assert crop_pixels(rgb, (0, 0, 1000, 2000), 0.0, 640).shape == (640, 320, 3)


def test_a_png_holds_the_pixels_exactly_and_a_jpeg_nearly() -> None:
    rgb = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8), (0, 0), 5)
    for form, most in (("png", 0), ("jpeg", 6)):
        head, data = data_uri(rgb, form, 92).split(",")
        read = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        assert head == f"data:image/{form};base64"
        assert np.abs(read.astype(int) - rgb).max() <= most


def test_scaling_never_gives_back_the_picture_itself() -> None:
    rgb = np.zeros((10, 10, 3), np.uint8)
    rgb.setflags(write=False)
    assert scaled(rgb, (10, 10)).flags.writeable
