"""Pictures at the boundary: any encoded image becomes an upright 8-bit RGB `Picture` with a content key, or ImageError.

Nothing here trusts the file: the size is checked from the header before a pixel is decoded, only harmless formats are
tried (never EPS, which would start an interpreter), and every decoder failure is an ImageError that says what to do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from valor_ray.errors import ImageError
from valor_ray.records import BBox, Picture

if TYPE_CHECKING:
    from valor_ray.config.service import ImageConfig

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF")
MIN_SIDE = 2  # px; below this there is nothing to look at
MAX_ASPECT = 100  # longest over shortest side; thinner pictures turn to nothing when the models scale them
_ACCEPTED = "Send a PNG, JPEG, WebP, GIF, TIFF or BMP."
# What Pillow's decoders raise on damaged files, besides its own UnidentifiedImageError (an OSError).
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, AttributeError,
    MemoryError, RuntimeError, struct.error,
)  # fmt: skip


def load(path: Path, limits: ImageConfig) -> Picture:
    """Read and decode a local file. Raises ImageError when it is missing, unreadable or no picture."""
    try:
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise ImageError(
                f"{path} has {size:,} bytes; the limit is {limits.max_bytes:,}. Scale it down first."
            )
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"Cannot read the picture {path}: {error.strerror or error}. Check the path."
        ) from error
    return decode(data, limits)


def decode(data: bytes, limits: ImageConfig) -> Picture:
    """Decode an image file to an upright picture: EXIF rotation applied, first frame, alpha laid on white.

    16-bit greys are scaled by their full range, 32-bit and float pixels from their smallest to their largest value.
    Raises ImageError for empty, truncated, unknown and oversized data (`limits.max_bytes`, `limits.max_pixels`).
    """
    if not data:
        raise ImageError(f"The picture is empty (0 bytes). {_ACCEPTED}")
    if len(data) > limits.max_bytes:
        raise ImageError(
            f"The picture has {len(data):,} bytes; the limit is {limits.max_bytes:,}. Scale it down first."
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.width, image.height, limits.max_pixels)
            image.load()
            upright = ImageOps.exif_transpose(image)
            return from_array(_to_rgb(upright))
    except Image.DecompressionBombError as error:
        raise ImageError(f"The picture is far too large. {_limit(limits.max_pixels)}") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"This is not a picture that can be read ({len(data):,} bytes). {_ACCEPTED}"
        ) from error
    except _DECODER_ERRORS as error:
        raise ImageError(
            f"The picture is damaged or cut short ({error}). Save it again or send another."
        ) from error


def from_data_uri(text: str, limits: ImageConfig) -> Picture:
    """Decode `data:image/…;base64,…` or bare base64 (line breaks allowed). Raises ImageError; never reads a file."""
    text = text.strip()
    if text[:5].lower() == "data:":
        header, comma, payload = text.partition(",")
        if not comma:
            raise ImageError("The data URI has no comma. Write data:image/png;base64,<data>.")
        if not header.lower().endswith(";base64"):
            return decode(unquote_to_bytes(payload), limits)
    else:
        payload = text
    if len(payload) > limits.max_bytes * 1.5 + 4096:  # base64 with line breaks grows by a little over 4/3
        raise ImageError(
            f"The picture is larger than the limit of {limits.max_bytes:,} bytes. Scale it down first."
        )
    try:
        data = base64.b64decode("".join(payload.split()).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ImageError(
            "The picture is neither a data URI nor base64 data. Send the file's content: names of files are never "
            "looked up on the server."
        ) from error
    return decode(data, limits)


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
    """The part of the picture inside the box (px), widened to whole pixels and clipped to the picture.

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
    return from_array(picture.rgb[top:bottom, left:right])


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


def _limit(max_pixels: int) -> str:
    return f"The limit is {max_pixels:,} pixels (images.max_pixels). Scale it down first."


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(f"The picture is {width:,}x{height:,} px. {_limit(max_pixels)}")
    short, long = sorted((width, height))
    if short < MIN_SIDE or long > short * MAX_ASPECT:
        raise ImageError(
            f"The picture is {width}x{height} px. Both sides must be at least {MIN_SIDE} px and the longer one at "
            f"most {MAX_ASPECT} times the shorter: crop it or send another."
        )


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Any Pillow mode -> uint8 (height, width, 3)."""
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image).astype(np.float32) / 257)
    if image.mode in ("I", "F"):
        return _grey(_stretch(np.asarray(image).astype(np.float64)))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA") if image.mode != "La" else image.convert("LA").convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return np.array(Image.alpha_composite(paper, layer).convert("RGB"))
    return np.array(image.convert("RGB"))


def _stretch(values: np.ndarray) -> np.ndarray:
    """Scale finite values to 0..255; what is not finite becomes 0."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros_like(values)
    low, high = values[finite].min(), values[finite].max()
    return np.where(finite, (values - low) / max(high - low, 1e-12) * 255, 0)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
