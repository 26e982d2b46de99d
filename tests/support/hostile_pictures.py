"""Pictures as somebody sends them who wants a server to work for minutes: small to send, dear to decode."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

Maker = Callable[[], bytes]


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, interlace: int = 0, raw: bytes | None = None,
    before: bytes = b"", between: bytes = b"",
) -> bytes:  # fmt: skip
    """Black pixels; `before` them and `between` their two halves further chunks."""
    if raw is None:
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
        raw = bytes((1 + (width * depth * channels + 7) // 8) * height + 3 * height * interlace)
    packed = zlib.compress(raw, 1)
    half = len(packed) // 2
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    pixels = chunk(b"IDAT", packed[:half]) + between + chunk(b"IDAT", packed[half:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels + chunk(b"IEND", b"")


def repeated_scan(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is there many times."""
    data = encode(Image.new("RGB", (width, height), "red"), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def single_colour_scans(width: int, height: int, scans: int) -> bytes:
    """A sequential JPEG with one scan for each colour, the last repeated."""
    data = encode(Image.new("L", (width, height)), "JPEG")
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    height_width = data[frame + 5 : frame + 9]
    frame_of_3 = (
        b"\xff\xc0\0\x11\x08" + height_width + b"\3" + b"".join(bytes([c, 0x11, 0]) for c in (1, 2, 3))
    )
    end = frame + 2 + int.from_bytes(data[frame + 2 : frame + 4], "big")
    coded = data[scan + 10 : -2]
    each = b"".join(b"\xff\xda\0\x08\1" + bytes([c, 0, 0, 63, 0]) + coded for c in (1, 2, *[3] * scans))
    return data[:frame] + frame_of_3 + data[end:scan] + each + b"\xff\xd9"


def with_segments(data: bytes, segments: bytes) -> bytes:
    """A JPEG with more behind its first two bytes."""
    return data[:2] + segments + data[2:]


def app1(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def exif_of_overlaps(size: int, entries: int) -> bytes:
    """EXIF whose entries all name the same bytes: read one by one they are `entries` times as many."""
    table = b"".join(struct.pack(">HHII", 0x9000 + n % 4096, 7, size - 100, 8) for n in range(entries))
    block = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", entries) + table
    return block + bytes(max(0, size - len(block)))


def long_exif(size: int) -> bytes:
    """Many EXIF segments, which Pillow puts together."""
    block, part = exif_of_overlaps(size, 60_000), 65_000
    return b"".join(app1(b"Exif\0\0" + block[at : at + part]) for at in range(0, len(block), part))


def gif_comments(size: int) -> bytes:
    """A GIF with one comment of very many blocks."""
    data = encode(Image.new("P", (8, 8)), "GIF")
    colours = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:colours] + b"\x21\xfe" + (b"\xff" + b"x" * 255) * (size // 256) + b"\0" + data[colours:]


def gif_of_zeros(side: int) -> bytes:
    return encode(Image.new("P", (side, side)), "GIF")


def animated(form: str, frames: int) -> bytes:
    pictures = [Image.fromarray(np.full((16, 16, 3), n % 251, np.uint8)) for n in range(frames)]
    return encode(pictures[0], form, save_all=True, append_images=pictures[1:], duration=20)


def bmp_of_run_lengths(side: int, size: int) -> bytes:
    """Each pair of bytes is one pixel."""
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, size, 0, 0, 256, 0)
    start = 14 + 40 + 1024
    return (
        b"BM" + struct.pack("<IHHI", start + size, 0, 0, start) + head + bytes(1024) + b"\1\7" * (size // 2)
    )


def ppm_of_digits(size: int) -> bytes:
    side = int((size / 2) ** 0.5)
    return b"P2\n%d %d\n255\n" % (side, side) + b"7 " * (side * side)


def ppm_of_odd_range(size: int) -> bytes:
    side = int((size / 3) ** 0.5)
    return b"P6\n%d %d\n99\n" % (side, side) + bytes(side * side * 3)


def ppm_comment(size: int) -> bytes:
    return b"P6\n#" + b"x" * size + b"\n8 8\n255\n" + bytes(192)


def tiff(tags: list[tuple[int, int, int, int]], body: bytes, count: int | None = None) -> bytes:
    """Little-endian, with `tags` (tag, type, number, value) behind the body."""
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(body))
        + body
        + struct.pack("<H", count or len(tags))
        + table
        + bytes(4)
    )


def tiff_of_overlaps(size: int) -> bytes:
    """60,000 tags that all name the whole file."""
    shorts = ((256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (278, 8))
    plain = [(tag, 3, 1, value) for tag, value in shorts] + [(273, 4, 1, 8), (279, 4, 1, 64)]
    return tiff(plain + [(40_000 + n % 20_000, 7, size, 8) for n in range(60_000)], bytes(size))


def tiff_of_zeros(side: int) -> bytes:
    return encode(Image.new("RGB", (side, side)), "TIFF", compression="tiff_adobe_deflate")


def tiff_of_strips(side: int) -> bytes:
    """One row a strip."""
    return encode(Image.new("L", (side, side)), "TIFF", compression="tiff_lzw", tiffinfo={278: 1})


def makers() -> Iterator[tuple[str, str, Maker]]:
    """(format, what is wrong with it, how it is made): up to the sizes that the default limits let in."""
    most = 20 * 2**20 - 4096
    plain = encode(Image.new("RGB", (64, 64), "red"), "JPEG")
    yield "JPEG", "4,000 scans of 2 Mpx", lambda: repeated_scan(1600, 1250, 4000)
    yield "JPEG", "90 scans of 40 Mpx", lambda: repeated_scan(8000, 5000, 90)
    yield "JPEG", "90 scans of single colours, 40 Mpx", lambda: single_colour_scans(8000, 5000, 90)
    yield "JPEG", "5 million empty comments", lambda: with_segments(plain, b"\xff\xfe\0\2" * (most // 4))
    yield "JPEG", "20 MB between two segments", lambda: with_segments(plain, bytes(most))
    yield "JPEG", "20 MB of 0xFF in its scan", lambda: repeated_scan(64, 64, 2)[:-2] + b"\xff" * most + b"\0"
    yield "JPEG", "EXIF that overlaps itself", lambda: with_segments(plain, long_exif(most - 200_000))
    yield "JPEG", "progressive, 100 Mpx", lambda: repeated_scan(10_000, 10_000, 1)
    yield (
        "PNG",
        "20,000 texts of 1 MB, zipped",
        lambda: png(64, 64, before=chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**20))) * 18_000),
    )
    yield "PNG", "a million empty pieces", lambda: png(64, 64, between=chunk(b"IDAT", b"") * (most // 12))
    yield "PNG", "2 GB behind its last row", lambda: png(64, 64, raw=bytes(2**31))
    yield "PNG", "110 Mpx of 16-bit RGBA", lambda: png(10_488, 10_488, depth=16, colour=6)
    yield "PNG", "16 Mpx of RGBA, interlaced", lambda: png(4096, 4096, colour=6, interlace=1)
    yield "PNG", "16 Mpx of RGBA", lambda: png(4090, 4090, colour=6)
    yield "GIF", "a comment of 80,000 blocks", lambda: gif_comments(most)
    yield "GIF", "10,000 frames", lambda: animated("GIF", 10_000)
    yield "GIF", "100 Mpx of one colour", lambda: gif_of_zeros(10_000)
    yield "WEBP", "10,000 frames", lambda: animated("WEBP", 10_000)
    yield (
        "WEBP",
        "100 Mpx of one colour",
        lambda: encode(Image.new("RGB", (10_000, 10_000)), "WEBP", method=0),
    )
    yield "BMP", "10 million runs of one pixel", lambda: bmp_of_run_lengths(4000, most - 2000)
    yield "PPM", "10 million numbers in digits", lambda: ppm_of_digits(most)
    yield "PPM", "7 million pixels of an odd range", lambda: ppm_of_odd_range(most)
    yield "PPM", "a comment of 20 MB", lambda: ppm_comment(most)
    yield "TIFF", "60,000 tags of the whole file", lambda: tiff_of_overlaps(most - 800_000)
    yield "TIFF", "100 Mpx of one colour, deflated", lambda: tiff_of_zeros(10_000)
    yield "TIFF", "10,000 strips", lambda: tiff_of_strips(10_000)
    yield "AVIF", "48 Mpx of one colour", lambda: encode(Image.new("RGB", (8000, 6000)), "AVIF", speed=10)
