"""A PNG's chunks: those that make pixels are kept, texts and profiles of any size are dropped unread."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from valor_ray.decoding.orientation import from_exif, from_xmp
from valor_ray.decoding.source import QUICK_BYTES, Bounds, Source, check_size
from valor_ray.errors import ImageError

_MAX_CHUNKS = 20_000
_MAX_TEXT = 2**20  # bytes of a text that is looked through for an orientation
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_XMP_KEY, _EXIF_KEY = b"XML:com.adobe.xmp", b"Raw profile type exif"


def survey(data: bytes, bounds: Bounds) -> Source:
    """The still picture, with its coded pixels in one piece. Raises ImageError: too large, or of too many pieces."""
    kept: list[bytes] = []
    pixels: list[bytes] = []
    found: dict[bytes, int | None] = {}
    place = 0  # of the pixels among what is kept
    header = data[
        8:33
    ]  # the first chunk, of 13 bytes; its size is checked here, so a second one must not come through
    if header[:8] != b"\0\0\0\x0dIHDR" or len(header) < 25:
        return Source("PNG", data, 1)  # the decoder says what is wrong
    width, height = int.from_bytes(header[8:12], "big"), int.from_bytes(header[12:16], "big")
    check_size(width, height, bounds)
    for kind, body, crc in _chunks(data):
        if kind == b"IDAT":
            place = place or len(kept) + 1
            pixels.append(body)
        elif kind in (b"PLTE", b"tRNS"):
            kept.append(len(body).to_bytes(4, "big") + kind + body + crc)
        else:
            _note_orientation(kind, body, found)
    kept.insert(place - 1 if place else len(kept), _chunk(b"IDAT", b"".join(pixels)))
    orientation = next((value for key in (b"eXIf", _EXIF_KEY, _XMP_KEY) if (value := found.get(key))), 1)
    raw = height * max(4 * width, 1 + width * header[16] * _CHANNELS.get(header[17], 4) // 8)
    rebuilt = b"".join([data[:8], header, *kept, _chunk(b"IEND", b"")])
    return Source("PNG", rebuilt, orientation, raw <= QUICK_BYTES)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, body and checksum of each; the last may be cut short."""
    place = 8
    for _ in range(_MAX_CHUNKS):
        if place + 8 > len(data):
            return
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if kind == b"IEND":
            return
        end = place + 8 + length
        yield kind, data[place + 8 : end], data[end : end + 4]
        place = end + 4
    raise ImageError(f"The PNG has more than {_MAX_CHUNKS:,} chunks. Save it again.")


def _chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + kind + body + crc


def _note_orientation(kind: bytes, body: bytes, found: dict[bytes, int | None]) -> None:
    """Out of EXIF, or out of the texts in which programs keep EXIF and XMP; the first of each kind is read."""
    if kind == b"eXIf":
        found.setdefault(kind, from_exif(body))
    if kind not in (b"tEXt", b"zTXt", b"iTXt"):
        return
    key, _, rest = body.partition(b"\0") if body.startswith((_XMP_KEY, _EXIF_KEY)) else (b"", b"", b"")
    if key not in (_XMP_KEY, _EXIF_KEY) or key in found:
        return
    text = _text(kind, rest)
    found[key] = from_xmp(text) if key == _XMP_KEY else from_exif(_unhex(text))


def _text(kind: bytes, rest: bytes) -> bytes:
    """What stands behind the key; of what is compressed the first _MAX_TEXT bytes."""
    if kind == b"tEXt":
        return rest[:_MAX_TEXT]
    packed = kind == b"zTXt" or rest[:1] == b"\1"
    body = rest[1:] if kind == b"zTXt" else rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not packed:
        return body[:_MAX_TEXT]
    try:
        return zlib.decompressobj().decompress(body, _MAX_TEXT)
    except zlib.error:
        return b""


def _unhex(text: bytes) -> bytes:
    """ImageMagick's way of writing EXIF: three lines of head, then hexadecimal."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return b""
