"""Pictures at the boundary: any encoded image becomes an upright 8-bit RGB `Picture` with a content key, or ImageError.

Nothing here trusts the file: what it may cost is read from its header, and what the header does not bound is decoded by
processes that the kernel ends at their limits (`decoding/`, docs/design/pictures.md).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import ExifTags, Image

from valor_ray.decoding import lanes, pool
from valor_ray.decoding.formats import ACCEPTED, format_of
from valor_ray.decoding.here import DECODER_ERRORS, decode_here, register_heif
from valor_ray.decoding.source import Bounds, Source, check_size, shrinkage
from valor_ray.decoding.survey import survey
from valor_ray.errors import ImageError
from valor_ray.records import BBox, Picture

if TYPE_CHECKING:
    from valor_ray.config.service import ImageConfig

T = TypeVar("T")
_MANY_PIXELS = 500_000  # work on fewer takes ms, as the way to a thread and back does in a busy process
_SPACE = b" \t\r\n\f\v"  # that may stand in base64
_MOST_QUOTED = 2**20  # characters of a data URI with %41 and the like: Python takes seconds for many
_TURNED = range(2, 9)  # EXIF orientations that turn or mirror
_SIDEWAYS = range(5, 9)


@dataclass(frozen=True)
class Header:
    """What a picture's file says of it before it is decoded."""

    width: int  # px, upright and as `decode` would give it
    height: int
    form: str  # of decoding.formats.FORMATS
    factor: int  # each side of the file is as many times as long; more than 1: `decode` scales it down
    turned: bool  # by EXIF: `decode` turns or mirrors it


@dataclass(frozen=True)
class FilePicture(Picture):
    """A picture, or a part of one, with the file that it was decoded from: what travels where the pixels are many."""

    file: bytes = field(repr=False)
    limits: ImageConfig  # that it was decoded within: they say how often it was halved
    whole: str  # key of the picture of all of the file
    region: BBox | None = None  # whole px of that picture; None: all of it


def load(path: Path, limits: ImageConfig) -> Picture:
    """Read and decode a local file. Raises ImageError when it is missing, unreadable or no picture."""
    return decode(read(path, limits), limits)


def load_with_file(path: Path, limits: ImageConfig) -> FilePicture:
    """The same, and the file is kept with it: for whoever sends the picture on."""
    data = read(path, limits)
    return _with_file(decode(data, limits), data, limits)


def decode(data: bytes, limits: ImageConfig) -> Picture:
    """Decode an image file to an upright picture: EXIF rotation applied, first frame, alpha laid on white.

    16-bit greys are scaled by their full range, 32-bit and float pixels from their smallest to their largest value.
    A picture of more than `limits.max_pixels` is halved until it fits: all boxes are in pixels of what is returned.
    Raises ImageError for empty, truncated, unknown, oversized and too costly data, ServiceError without a decoder.
    """
    source, bounds = _surveyed(data, limits)
    return _decode_quick(source, bounds) if source.quick else _decode_apart(source, bounds)


async def decode_soon(data: bytes, limits: ImageConfig) -> Picture:
    """The same for a service, which has other work: in threads where costly pictures do not hold up quick ones."""

    def begin() -> Picture | tuple[Source, Bounds]:
        source, bounds = _surveyed(data, limits)
        return _decode_quick(source, bounds) if source.quick else (source, bounds)

    begun = await lanes.LANES.quick(begin)
    if isinstance(begun, Picture):
        return begun
    source, bounds = begun
    return await lanes.LANES.costly(lambda: _decode_apart(source, bounds))


async def decode_with_file(data: bytes, limits: ImageConfig) -> FilePicture:
    """The same, and the file is kept with it."""
    return _with_file(await decode_soon(data, limits), data, limits)


def header(path: Path, limits: ImageConfig) -> Header:
    """Of a local file. Raises ImageError when it is missing, unreadable, no picture, or larger than the limits."""
    try:
        with path.open("rb") as file:
            form = format_of(file.read(2048))
        if form == "HEIF":
            register_heif()
        with Image.open(path, formats=(form,)) as image:
            width, height = image.size
            orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (*DECODER_ERRORS, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "Its header is damaged"
        raise ImageError(f"{reason}. Check the picture's path.") from error
    check_size(width, height, bounds_of(limits))
    factor = shrinkage(width, height, limits.max_pixels)
    size = -(-width // factor), -(-height // factor)
    return Header(*(size[::-1] if orientation in _SIDEWAYS else size), form, factor, orientation in _TURNED)


def from_data_uri(text: str, limits: ImageConfig) -> Picture:
    """Decode `data:image/…;base64,…` or bare base64 (line breaks allowed). Raises ImageError; never reads a file."""
    return decode(bytes_of(text, limits), limits)


def bytes_of(text: str, limits: ImageConfig) -> bytes:
    """The file in a data URI or base64 text. Raises ImageError; never reads a file of this machine."""
    text = text.strip()
    if text[:5].lower() == "data:":
        header, comma, payload = text.partition(",")
        if not comma:
            raise ImageError("The data URI has no comma. Write data:image/png;base64,<data>.")
        if not header.lower().endswith(";base64"):
            if len(payload) > _MOST_QUOTED:
                raise ImageError(
                    f"A data URI of more than {_MOST_QUOTED:,} characters must be base64: data:image/png;base64,<data>."
                )
            return unquote_to_bytes(payload)
    else:
        payload = text
    if len(payload) > limits.max_bytes * 1.5 + 4096:  # base64 with line breaks grows by a little over 4/3
        raise ImageError(
            f"The picture is larger than the limit of {limits.max_bytes:,} bytes. Scale it down first."
        )
    try:
        return base64.b64decode(payload.encode("ascii").translate(None, _SPACE), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ImageError(
            "The picture is neither a data URI nor base64 data. Send the file's content: names of files are never "
            "looked up on the server."
        ) from error


def from_array(rgb: np.ndarray) -> Picture:
    """Wrap uint8 pixels (height, width, 3). The array is copied only when it is writeable or not contiguous."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError(
            f"Pixels must be uint8 of shape (height, width, 3), not {rgb.dtype} of shape {rgb.shape}."
        )
    if rgb.flags.writeable or not rgb.flags.c_contiguous:
        rgb = rgb.copy()
        rgb.setflags(write=False)
    digest = hashlib.sha256(repr(rgb.shape).encode())
    digest.update(rgb.data)
    return Picture(rgb, digest.hexdigest())


def crop(picture: Picture, bbox: BBox) -> Picture:
    """The part of the picture inside the box (px), widened to whole pixels and clipped to the picture; of a whole
    FilePicture one too.

    Raises ImageError when nothing of the box lies inside the picture.
    """
    if not all(math.isfinite(side) for side in bbox):
        raise ImageError(f"The box {bbox} has a side that is not a number.")
    left, top = max(0, math.floor(bbox[0])), max(0, math.floor(bbox[1]))
    right, bottom = min(picture.width, math.ceil(bbox[2])), min(picture.height, math.ceil(bbox[3]))
    if left >= right or top >= bottom:
        raise ImageError(
            f"The box {tuple(bbox)} is empty or lies outside the picture ({picture.width}x{picture.height} px). "
            "Give x1 < x2 and y1 < y2 inside it."
        )
    part = from_array(picture.rgb[top:bottom, left:right])
    if not isinstance(picture, FilePicture) or picture.region is not None:
        return part
    return replace(picture, rgb=part.rgb, key=part.key, region=(left, top, right, bottom))


async def off_the_loop(pixels: int, work: Callable[..., T], *args: Any) -> T:
    """work(*args) for a caller on an event loop that others wait for, too: in a thread where the pixels are many."""
    return await asyncio.to_thread(work, *args) if pixels > _MANY_PIXELS else work(*args)


def to_jpeg_uri(picture: Picture, quality: int, max_side: int) -> str:
    """A JPEG data URI, scaled down (never up) so that the long side is at most `max_side` px."""
    image = Image.fromarray(picture.rgb)
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def to_png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture.rgb).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def bounds_of(limits: ImageConfig) -> Bounds:
    return Bounds(
        limits.max_pixels,
        limits.max_source_pixels,
        limits.decode_seconds,
        limits.decode_memory_mib,
        limits.decoders,
    )


def read(path: Path, limits: ImageConfig) -> bytes:
    try:
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise ImageError(
                f"{path} has {size:,} bytes; the limit is {limits.max_bytes:,}. Scale it down first."
            )
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"Cannot read the picture {path}: {error.strerror or error}. Check the path."
        ) from error


def _surveyed(data: bytes, limits: ImageConfig) -> tuple[Source, Bounds]:
    if not data:
        raise ImageError(f"The picture is empty (0 bytes). {ACCEPTED}")
    if len(data) > limits.max_bytes:
        raise ImageError(
            f"The picture has {len(data):,} bytes; the limit is {limits.max_bytes:,}. Scale it down first."
        )
    bounds = bounds_of(limits)
    return survey(data, bounds), bounds


def _with_file(picture: Picture, data: bytes, limits: ImageConfig) -> FilePicture:
    return FilePicture(picture.rgb, picture.key, data, limits, picture.key)


def _decode_quick(source: Source, bounds: Bounds) -> Picture:
    return _owned(decode_here(source, bounds))


def _decode_apart(source: Source, bounds: Bounds) -> Picture:
    return _owned(pool.POOL.decode(source, bounds))


def _owned(pixels: np.ndarray) -> Picture:
    """Nobody else has these pixels, so they are closed instead of copied."""
    pixels.setflags(write=False)
    return from_array(pixels)
