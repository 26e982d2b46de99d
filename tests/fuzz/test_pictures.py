"""Damaged and made-up files of every format: a picture or an ImageError, within the limits of CPU."""

from __future__ import annotations

import resource
import struct
import zlib

import hostile_pictures as hostile
import numpy as np
import psutil
from hostile_pictures import encode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.decoding import pool
from valor_ray.decoding.here import register_heif
from valor_ray.errors import ImageError

LIMITS = ImageConfig(decoders=1)
CPU_S = 2.0
register_heif()


def seeds() -> list[bytes]:
    """One small file of each format and of each way in which it packs pixels."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 40, 4), np.uint8)
    rgba, rgb = Image.fromarray(noise), Image.fromarray(noise[..., :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    packings = [{"compression": f"tiff_{name}"} for name in ("lzw", "adobe_deflate", "jpeg")]
    return [
        *(encode(rgb, form, exif=exif) for form in ("PNG", "JPEG", "WEBP", "AVIF", "HEIF")),
        *(encode(rgb, form) for form in ("GIF", "BMP", "PPM", "TIFF")),
        *(encode(rgb, "TIFF", **packing) for packing in packings),
        *(hostile.animated(form, 3) for form in ("GIF", "WEBP", "PNG", "TIFF")),
        *(encode(rgba, form) for form in ("PNG", "WEBP", "TIFF")),
        encode(rgb, "JPEG", progressive=True),
        encode(rgb, "WEBP", lossless=True),
        encode(rgb.convert("P"), "PNG", transparency=3),
        encode(rgb.convert("CMYK"), "JPEG"),
        encode(Image.fromarray(noise[..., 0].astype(np.float32)), "TIFF"),
        hostile.single_colour_scans(16, 16, 3),
        hostile.bmp_of_run_lengths(16, 300),
        hostile.ppm_of_digits(600),
        hostile.png(33, 20, depth=16, colour=6, interlace=1),
    ]


SEEDS = seeds()
EDITS = st.lists(
    st.tuples(
        st.sampled_from(("set", "cut", "repeat", "swap", "number")),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
        st.integers(1, 64),
    ),
    max_size=6,
)
NUMBERS = (0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def edited(data: bytes, edits: list[tuple[str, float, int, int]]) -> bytes:
    new = bytearray(data)
    for kind, share, value, length in edits:
        at = int(share**2 * len(new))  # most of what can go wrong is near the beginning
        piece = bytes(new[at : at + length])
        if kind == "set":
            new[at : at + 1] = bytes([value])
        elif kind == "cut":
            del new[at : at + length]
        elif kind == "repeat":
            new[at:at] = piece * value
        elif kind == "swap":
            new[at : at + length] = piece[::-1]
        else:
            new[at : at + 4] = struct.pack("<I" if value % 2 else ">I", NUMBERS[value % len(NUMBERS)])
    return bytes(new)


def checksummed(data: bytes) -> bytes:
    """A PNG with its checksums made right, so that what is wrong in a chunk comes to be read."""
    new, place = bytearray(data), 8
    while place + 12 <= len(new):
        length = int.from_bytes(new[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(new):
            break
        new[end : end + 4] = zlib.crc32(new[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(new)


def cpu() -> float:
    """Of this process and of its decoders, living and dead."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    living = sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pool.POOL.pids())
    return living + sum(each.ru_utime + each.ru_stime for each in used)


def check(data: bytes) -> None:
    images.decode(SEEDS[5], LIMITS)  # so that the start of a decoder is not counted
    before = cpu()
    try:
        picture = images.decode(data, LIMITS)
    except ImageError as error:
        assert str(error) and "Traceback" not in str(error)
    else:
        assert picture.rgb.shape == (picture.height, picture.width, 3)
        assert picture.width * picture.height <= LIMITS.max_pixels
    assert cpu() - before <= CPU_S


@given(st.integers(0, len(SEEDS) - 1), EDITS)
def test_a_damaged_file_is_a_picture_or_an_image_error(which: int, edits: list) -> None:
    data = edited(SEEDS[which], edits)
    check(checksummed(data) if data.startswith(b"\x89PNG") else data)


@given(
    st.integers(0, 70_000), st.integers(0, 70_000), st.sampled_from((1, 2, 4, 8, 16, 3)),
    st.sampled_from((0, 2, 3, 4, 6, 5)), st.integers(0, 2), st.binary(max_size=200), st.integers(0, 2**20),
)  # fmt: skip
def test_a_made_up_png_is_a_picture_or_an_image_error(
    width: int, height: int, depth: int, colour: int, interlace: int, raw: bytes, zeros: int
) -> None:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    pixels = hostile.chunk(b"IDAT", zlib.compress(raw + bytes(zeros), 1))
    check(b"\x89PNG\r\n\x1a\n" + hostile.chunk(b"IHDR", header) + pixels)


@given(st.sampled_from((b"", *(seed[:12] for seed in SEEDS))), st.binary(max_size=2000))
def test_any_bytes_behind_a_known_beginning_are_a_picture_or_an_image_error(head: bytes, rest: bytes) -> None:
    check((head + rest) or b"x")
