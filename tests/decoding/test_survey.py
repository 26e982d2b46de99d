"""What a header tells of a picture: texts and profiles of any size, many scans, pieces and frames, which way is up."""

from __future__ import annotations

import random
import time
import zlib

import hostile_pictures as hostile
import numpy as np
import pytest
from hostile_pictures import chunk, encode
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.decoding.orientation import from_exif
from valor_ray.decoding.survey import survey
from valor_ray.errors import ImageError

LIMITS = ImageConfig()
PIXELS = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)
PICTURE = Image.fromarray(PIXELS)
KEY = images.from_array(PIXELS).key
MANY = random.Random(0).randbytes(2 * 2**20)


def zipped(text: bytes) -> bytes:
    return zlib.compress(text)


def with_chunks(more: bytes) -> bytes:
    data = encode(PICTURE, "PNG")
    return data[:33] + more + data[33:]


@pytest.mark.parametrize(
    "more",
    [
        chunk(b"zTXt", b"parameters\0\0" + zipped(b"a cat, " * 450_000)),
        chunk(b"iTXt", b"prompt\0\1\0\0\0" + zipped(b"a cat, " * 450_000)),
        chunk(b"tEXt", b"workflow\0" + b"x" * 3_000_000),
        chunk(b"iCCP", b"profile\0\0" + zipped(MANY)),
        chunk(b"iCCP", b"profile\0\0no zlib at all"),
        chunk(b"zTXt", b"k\0\0" + zipped(bytes(2**20))) * 100,
        chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zipped(bytes(2**24))),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zipped(b"\n\n\n" + b"zz" * 2**20)),
        chunk(b"eXIf", b"II*\0\xff\xff\xff\xff" + bytes(100)),
        chunk(b"gAMA", b"") + chunk(b"cHRM", b"") + chunk(b"pHYs", b"") + chunk(b"sRGB", b""),
        chunk(b"acTL", b"\0\0\x27\x10\0\0\0\0") + chunk(b"fdAT", b"") * 10_000,
    ],
)  # fmt: skip
def test_png_is_read_whatever_stands_beside_its_pixels(more: bytes) -> None:
    assert images.decode(with_chunks(more), LIMITS).key == KEY


def test_jpeg_is_read_whatever_stands_beside_its_pixels() -> None:
    data = encode(PICTURE, "JPEG", quality=95)
    key = images.decode(data, LIMITS).key
    profile = b"".join(b"\xff\xe2\xff\xffICC_PROFILE\0" + bytes([n, 33]) + MANY[:65519] for n in range(1, 33))
    for more in (
        profile,
        b"\xff\xe2\0\x10ICC_PROFILE\0no",
        b"\xff\xfe\xff\xff" + bytes(65533),
        hostile.app1(b"Exif\0\0" + b"\xff" * 100),
        hostile.long_exif(4 * 2**20),
        b"\xff\xed\xff\xff" + bytes(65533),
        b"\xff\xe2\0\x20MPF\0MM\0*" + b"\xff" * 22,
    ):
        assert images.decode(hostile.with_segments(data, more), LIMITS).key == key


def test_a_second_header_does_not_get_past_the_size_check() -> None:
    larger = hostile.png(20_000, 20_000, raw=b"")[8:33]
    assert images.decode(with_chunks(larger), LIMITS).key == KEY


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_and_xmp_turn_a_picture_wherever_they_stand(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = images.decode(encode(PICTURE, "TIFF", exif=exif), LIMITS).key
    xmp = f'<x:xmpmeta tiff:Orientation="{orientation}"/>'
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp, zip=True)
    block = exif.tobytes()
    hexadecimal = PngInfo()
    hexadecimal.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    for options in ({"exif": exif}, {"pnginfo": texts}, {"pnginfo": hexadecimal}):
        assert images.decode(encode(PICTURE, "PNG", **options), LIMITS).key == expected
    jpeg = encode(PICTURE, "JPEG")
    with_exif = images.decode(encode(PICTURE, "JPEG", exif=exif), LIMITS).key
    in_xmp = hostile.app1(b"http://ns.adobe.com/xap/1.0/\0" + xmp.encode())
    assert images.decode(hostile.with_segments(jpeg, in_xmp), LIMITS).key == with_exif


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"MM\0*\xff\xff\xff\xff" * 9]
)
def test_broken_exif_turns_nothing(exif: bytes) -> None:
    assert from_exif(exif) is None


@pytest.mark.parametrize(
    "data",
    [
        hostile.repeated_scan(64, 64, 4000),
        hostile.single_colour_scans(64, 64, 200),
        hostile.repeated_scan(64, 64, 50)[:-2]
        * 4,  # with SOI between them, at which a decoder stops: 60 scans count
    ],
)
def test_jpeg_that_repeats_a_scan_is_refused_from_its_header(data: bytes) -> None:
    start = time.process_time()
    try:
        survey(data, images.bounds_of(LIMITS))
    except ImageError as error:
        assert "more than 100 times" in str(error)
    else:
        assert data.count(b"\xff\xd8") > 1
    assert time.process_time() - start < 0.5


def test_jpeg_of_some_scans_and_motion_photos_with_a_video_behind_are_read() -> None:
    progressive = encode(PICTURE, "JPEG", progressive=True)
    key = images.decode(progressive, LIMITS).key
    assert images.decode(progressive + b"\xff\xda" * 500, LIMITS).key == key
    assert images.decode(hostile.repeated_scan(64, 64, 20), LIMITS).width == 64


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_many_frames_the_first_is_decoded(form: str) -> None:
    data = hostile.animated(form, 200)
    assert images.decode(data, LIMITS).rgb.max() < 20


def test_png_of_too_many_pieces_is_refused_and_one_in_many_pieces_is_read() -> None:
    with pytest.raises(ImageError, match="more than 20,000 chunks"):
        images.decode(hostile.png(64, 64, between=chunk(b"IDAT", b"") * 30_000), LIMITS)
    assert images.decode(hostile.png(64, 64, between=chunk(b"IDAT", b"") * 3000), LIMITS).width == 64


def test_unpacking_a_png_ends_with_its_last_row() -> None:
    start = time.process_time()
    assert images.decode(hostile.png(64, 64, raw=bytes(2**26)), LIMITS).width == 64
    assert time.process_time() - start < 2


@pytest.mark.parametrize(("form", "quick"), [("PNG", True), ("JPEG", True), ("BMP", True), ("WEBP", False)])
def test_only_what_the_header_bounds_is_decoded_in_this_process(form: str, quick: bool) -> None:
    bounds = images.bounds_of(LIMITS)
    assert survey(encode(PICTURE, form), bounds).quick is quick
    assert not quick or not survey(encode(Image.new("1", (8000, 2200)), form), bounds).quick
    for costly in (encode(PICTURE, "JPEG", progressive=True), hostile.bmp_of_run_lengths(64, 4096)):
        assert not survey(costly, bounds).quick
