"""A JPEG's segments before its first scan: what decoding it will cost, and what of it the pixels need."""

from __future__ import annotations

import re
from collections.abc import Iterator

from valor_ray.decoding.orientation import from_exif, from_xmp
from valor_ray.decoding.source import QUICK_BYTES, Bounds, Source, check_size
from valor_ray.errors import ImageError

MAX_SCANS = 100  # cameras and programs write up to about 20; each goes over the whole picture again
_MAX_SEGMENTS = 2000
_SOF, _DHT, _SOI, _EOI, _SOS, _COM, _APP0 = 0xC0, 0xC4, 0xD8, 0xD9, 0xDA, 0xFE, 0xE0
_FRAMES = frozenset(range(_SOF, _SOF + 16)) - {_DHT, 0xC8, 0xCC}
_NEEDED_APPS = {_APP0, _APP0 + 14}  # JFIF and Adobe tell the colours
_SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff([^\x00\xff])")  # in coded data 0xFF is followed by 0
_BARE = frozenset({*range(0xD0, 0xD8), *range(0xC0)})  # markers without a length, as libjpeg reads them
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"


def survey(data: bytes, bounds: Bounds) -> Source:
    """Without comments, profiles, further pictures and the like, if its segments follow each other as they should.

    One that scans the picture once is bounded by its pixels. Raises ImageError: too large, or scanned too often.
    """
    kept, exif, xmp, frame = [data[:2]], None, None, b""
    for place, marker, body in _segments(data):
        if marker in _FRAMES:
            frame = bytes([marker]) + body
            check_size(int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"), bounds)
        if marker == _SOS:
            return _scanned(data, place, body, kept, frame, exif if exif is not None else xmp)
        if marker == _APP0 + 1:
            if exif is None and body.startswith(b"Exif\0\0"):
                exif = from_exif(body)
            elif xmp is None and body.startswith(_XMP_HEAD):
                xmp = from_xmp(body)
        elif marker != _COM and (marker & 0xF0 != _APP0 or marker in _NEEDED_APPS):
            kept.append(data[place : place + 4] + body)
    return Source("JPEG", data)


def _scanned(
    data: bytes, start: int, scan: bytes, kept: list[bytes], frame: bytes, orientation: int | None
) -> Source:
    """start: of the first scan's marker."""
    if len(frame) < 7 or not scan:
        return Source("JPEG", data)
    # Sequential, and all colours in the first scan: libjpeg decodes that one and looks at no other.
    once = frame[0] in (_SOF, _SOF + 1) and scan[0] == frame[6]
    if not once:
        _check_scans(data, start)
    width, height = int.from_bytes(frame[4:6], "big"), int.from_bytes(frame[2:4], "big")
    stripped = b"".join([*kept, data[start:]])
    return Source("JPEG", stripped, orientation or 1, once and 4 * width * height <= QUICK_BYTES)


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Place, marker and body of each, to the first scan's; ends early where something else stands between them."""
    place = 2
    for _ in range(_MAX_SEGMENTS):
        marker = data[place + 1] if data[place : place + 1] == b"\xff" and place + 4 <= len(data) else 0
        if marker in _BARE or marker in (_SOI, _EOI, 0xFF):
            return
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if length < 2 or place + 2 + length > len(data):
            return
        yield place, marker, data[place + 4 : place + 2 + length]
        place += 2 + length


def _check_scans(data: bytes, place: int) -> None:
    """Raises ImageError when there are more than MAX_SCANS. Linear: coded data is passed over by the expression."""
    if data.count(_SCAN, place) <= MAX_SCANS:
        return
    scans = 0
    while match := _MARKER.search(data, place):
        marker, place = match[1][0], match.end()
        if marker in (_EOI, _SOI):
            return
        if marker in _BARE:
            continue
        scans += marker == _SOS
        if scans > MAX_SCANS:
            raise ImageError(
                f"The JPEG goes over the picture more than {MAX_SCANS} times. Save it again, not progressive."
            )
        place += max(int.from_bytes(data[place : place + 2], "big"), 2)
