"""Rows at a time give what the whole picture at once would give."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from valor_ray.decoding import pixels
from valor_ray.decoding.pixels import upright_rgb

NOISE = np.random.default_rng(0).integers(0, 255, (45, 31, 3), np.uint8)


@pytest.fixture(autouse=True)
def some_rows_a_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_STRIP_PIXELS", 200)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV"])
def test_modes_are_as_pillow_converts_the_whole(mode: str) -> None:
    image = Image.fromarray(NOISE).convert(mode)
    assert np.array_equal(upright_rgb(image, 1, 10**6), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 10))
def test_every_orientation_is_as_pillow_turns_the_whole(orientation: int) -> None:
    image = Image.fromarray(NOISE)
    image.getexif()[0x0112] = orientation
    assert np.array_equal(upright_rgb(image, orientation, 10**6), np.asarray(ImageOps.exif_transpose(image)))


def test_float_pixels_are_stretched_over_the_whole_not_over_some_rows() -> None:
    values = np.linspace(-5, 11, 45 * 31, dtype=np.float32).reshape(45, 31)
    values[3, 4] = np.inf
    grey = upright_rgb(Image.fromarray(values), 1, 10**6)[..., 0]
    assert grey[0, 0] == 0 and grey[3, 4] == 0 and grey[-1, -1] == 255
    assert grey[22, 15] in (127, 128)
    assert not upright_rgb(Image.fromarray(np.full((9, 9), np.nan, np.float32)), 1, 100).any()


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_too_many_pixels_are_halved_until_they_fit_and_turned(orientation: int) -> None:
    small = Image.fromarray(NOISE).reduce(4)
    small.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(small))
    assert np.array_equal(upright_rgb(Image.fromarray(NOISE), orientation, 100), expected)
