"""Each kind of picture a caller may send, good and bad."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError

LIMITS = ImageConfig()


def gradient(height: int = 24, width: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, np.full_like(rows, 90)], axis=2).astype(
        np.uint8
    )


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The first chunks of a PNG that claims any size without holding the pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG"])
def test_common_formats_decode_to_the_same_pixels(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    picture = images.decode(encode(Image.fromarray(gradient()), form, **options), LIMITS)
    assert (picture.width, picture.height) == (40, 24)
    tolerance = {"JPEG": 12, "GIF": 30}.get(form, 0)  # lossy, 256 colours
    assert np.abs(picture.rgb.astype(int) - gradient()).mean() <= tolerance


def test_key_depends_on_pixels_and_shape_only() -> None:
    pixels = gradient()
    png = images.decode(encode(Image.fromarray(pixels), "PNG"), LIMITS)
    bmp = images.decode(encode(Image.fromarray(pixels), "BMP"), LIMITS)
    assert png.key == bmp.key == images.from_array(pixels).key
    assert images.from_array(pixels.reshape(40, 24, 3)).key != png.key
    pixels[0, 0, 0] += 1
    assert images.from_array(pixels).key != png.key


def test_later_changes_of_the_array_do_not_reach_the_picture() -> None:
    pixels = gradient()
    picture = images.from_array(pixels)
    pixels[:] = 0
    assert picture.rgb.any() and not picture.rgb.flags.writeable


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate 90 degrees clockwise to stand upright
    data = encode(Image.fromarray(gradient()), "PNG", exif=exif)
    picture = images.decode(data, LIMITS)
    assert (picture.width, picture.height) == (24, 40)
    assert np.array_equal(picture.rgb, np.rot90(gradient(), k=-1))


def test_cmyk_becomes_rgb() -> None:
    cmyk = Image.fromarray(gradient()).convert("CMYK")
    for form in ("JPEG", "TIFF"):
        picture = images.decode(encode(cmyk, form), LIMITS)
        assert np.abs(picture.rgb.astype(int) - gradient()).mean() < 12


def test_16_bit_grey_keeps_its_shades() -> None:
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(8, axis=0)
    for form in ("PNG", "TIFF"):
        picture = images.decode(encode(Image.fromarray(ramp), form), LIMITS)
        assert picture.rgb[0, 0, 0] == 0 and picture.rgb[0, -1, 0] == 255
        assert np.all(np.diff(picture.rgb[0, :, 0].astype(int)) >= 3)


def test_float_pixels_are_stretched_and_gaps_are_black() -> None:
    values = np.linspace(-1, 3, 64, dtype=np.float32).reshape(8, 8)
    values[0, 0] = np.nan
    picture = images.decode(encode(Image.fromarray(values), "TIFF"), LIMITS)
    assert picture.rgb[0, 0, 0] == 0 and picture.rgb[-1, -1, 0] == 255


def test_alpha_is_laid_on_white() -> None:
    rgba = np.dstack([gradient(), np.zeros((24, 40), np.uint8)])
    rgba[:, :20, 3] = 255
    picture = images.decode(encode(Image.fromarray(rgba), "PNG"), LIMITS)
    assert np.array_equal(picture.rgb[:, :20], gradient()[:, :20])
    assert np.all(picture.rgb[:, 20:] == 255)


def test_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((0, 0), 0)
    picture = images.decode(encode(palette, "GIF", transparency=0), LIMITS)
    assert tuple(picture.rgb[0, 0]) == (255, 255, 255) and tuple(picture.rgb[4, 4]) == (200, 100, 50)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "YCbCr"])
def test_other_modes_decode(mode: str) -> None:
    form = "JPEG" if mode == "YCbCr" else "PNG"
    picture = images.decode(encode(Image.fromarray(gradient()).convert(mode), form), LIMITS)
    assert picture.rgb.shape == (24, 40, 3)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_its_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encode(frames[0], form, save_all=True, append_images=frames[1:])
    assert images.decode(data, LIMITS).rgb[8, 8, 0] > 240


def test_zero_bytes_are_refused() -> None:
    with pytest.raises(ImageError, match="empty"):
        images.decode(b"", LIMITS)


def test_bytes_that_are_no_picture_are_refused() -> None:
    for data in (b"hello, world" * 10, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>", b"P"):
        with pytest.raises(ImageError, match="not a picture"):
            images.decode(data, LIMITS)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_truncated_files_are_refused(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), form)
    for share in (0.5, 0.9):
        with pytest.raises(ImageError):
            images.decode(data[: int(len(data) * share)], LIMITS)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF"])
def test_damaged_files_never_raise_anything_but_image_error(form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    options = {"exif": exif} if form in ("PNG", "JPEG", "WEBP", "AVIF") else {}
    data = encode(Image.fromarray(gradient()), form, **options)
    rng = np.random.default_rng(1)
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            broken[place] = rng.integers(256)
        with contextlib.suppress(ImageError):
            images.decode(bytes(broken), LIMITS)


@pytest.mark.parametrize("side", [12_000, 20_000, 2**31 - 1])
def test_bomb_is_refused_from_its_header(side: int) -> None:
    start = time.process_time()
    with pytest.raises(ImageError, match="limit is 110,000,000 pixels"):
        images.decode(png_header(side, side), LIMITS)
    assert time.process_time() - start < 0.5


def test_photograph_of_48_megapixels_is_halved_while_it_is_decoded() -> None:
    picture = images.decode(encode(Image.new("RGB", (8000, 6000), (200, 30, 40)), "JPEG"), LIMITS)
    assert (picture.width, picture.height) == (4000, 3000)
    assert np.abs(picture.rgb[::500, ::500].astype(int) - (200, 30, 40)).max() <= 3


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (5000, 10)])
def test_slivers_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="Both sides"):
        images.decode(encode(Image.new("RGB", size), "PNG"), LIMITS)


def test_encoded_size_is_limited() -> None:
    with pytest.raises(ImageError, match="limit is 10"):
        images.decode(b"x" * 11, ImageConfig(max_bytes=10))


def test_load_names_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageError, match="Cannot read the picture"):
            images.load(path, LIMITS)


def test_data_uri_and_bare_base64_decode() -> None:
    data = encode(Image.fromarray(gradient()), "PNG")
    text = base64.b64encode(data).decode()
    broken = "\n".join(text[i : i + 60] for i in range(0, len(text), 60))
    for image in (text, broken, f"data:image/png;base64,{text}", f"DATA:;base64,{text}"):
        assert images.from_data_uri(image, LIMITS).key == images.from_array(gradient()).key


def test_data_uris_that_would_cost_seconds_are_refused_and_spaces_cost_nothing() -> None:
    with pytest.raises(ImageError, match="must be base64"):
        images.from_data_uri("data:image/png," + "%41" * 400_000, LIMITS)
    text = base64.b64encode(encode(Image.fromarray(gradient()), "PNG")).decode()
    spaced = " \r\n\t\f\v".join(text)
    assert images.from_data_uri(spaced, LIMITS).key == images.from_array(gradient()).key


@pytest.mark.parametrize(
    "text", ["/etc/passwd", "file:///etc/passwd", "photo.png", "data:image/png;base64", "é", ""]
)
def test_text_that_is_no_data_is_refused(text: str) -> None:
    with pytest.raises(ImageError):
        images.from_data_uri(text, LIMITS)


def test_crop_is_widened_to_whole_pixels_and_clipped() -> None:
    picture = images.from_array(gradient())
    assert np.array_equal(images.crop(picture, (2.7, 3.2, 9.1, 6.0)).rgb, gradient()[3:6, 2:10])
    assert images.crop(picture, (-50, -50, 500, 500)).key == picture.key


@pytest.mark.parametrize("bbox", [(5, 5, 5, 9), (9, 5, 5, 9), (50, 0, 60, 10), (0, 0, float("nan"), 9)])
def test_crop_of_nothing_is_an_error(bbox: tuple[float, float, float, float]) -> None:
    with pytest.raises(ImageError):
        images.crop(images.from_array(gradient()), bbox)


def test_jpeg_uri_scales_down_but_never_up() -> None:
    picture = images.from_array(gradient(100, 200))
    small = images.from_data_uri(images.to_jpeg_uri(picture, 90, 50), LIMITS)
    same = images.from_data_uri(images.to_jpeg_uri(picture, 90, 500), LIMITS)
    assert (small.width, small.height) == (50, 25) and (same.width, same.height) == (200, 100)


def test_png_round_trip_is_exact() -> None:
    picture = images.from_array(gradient())
    assert images.decode(images.to_png(picture), LIMITS).key == picture.key
