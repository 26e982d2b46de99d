"""Which way up: the one thing that is wanted of a picture's metadata, read without building all the rest."""

from __future__ import annotations

import re
import struct

_TAG = 0x0112
_FORMS = {1: "B", 3: "H", 4: "I"}  # TIFF types of whole numbers
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def from_exif(exif: bytes) -> int | None:
    """The orientation in an EXIF block (a TIFF file, with or without its `Exif` head); None: it says nothing valid."""
    tiff = exif[6:] if exif.startswith(b"Exif\0\0") else exif
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start) if start + 2 <= len(tiff) else (0,)
    found = None
    for place in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", tiff, place)
        if tag == _TAG and number == 1 and kind in _FORMS:
            (found,) = struct.unpack_from(f"{order}{_FORMS[kind]}", tiff, place + 8)
    return found


def from_xmp(xmp: bytes) -> int | None:
    match = _XMP.search(xmp)
    return int(match[1]) if match else None
