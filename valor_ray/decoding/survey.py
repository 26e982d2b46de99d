"""What a file is and what it may cost, from its header: linear in its bytes, and no decoder has run yet."""

from __future__ import annotations

from valor_ray.decoding import jpeg, png
from valor_ray.decoding.formats import format_of
from valor_ray.decoding.source import QUICK_BYTES, Bounds, Source, check_size


def survey(data: bytes, bounds: Bounds) -> Source:
    """Raises ImageError for what is no picture, and for what is too large or too costly by its header."""
    form = format_of(data)
    if form == "PNG":
        return png.survey(data, bounds)
    if form == "JPEG":
        return jpeg.survey(data, bounds)
    if form == "BMP":
        return _bmp(data, bounds)
    return Source(form, data)


def _bmp(data: bytes, bounds: Bounds) -> Source:
    """Plain pixels are quick; run lengths are unpacked in Python."""
    if int.from_bytes(data[14:18], "little") < 40:
        return Source("BMP", data)
    width, height = (abs(int.from_bytes(data[at : at + 4], "little", signed=True)) for at in (18, 22))
    check_size(width, height, bounds)
    plain = int.from_bytes(data[30:34], "little") in (0, 3)
    return Source("BMP", data, 1, plain and 4 * width * height <= QUICK_BYTES)
