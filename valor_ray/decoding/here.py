"""Pillow on one file, in this process: what is quick anywhere, the rest in the processes of `pool.py` only."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from valor_ray.decoding.formats import ACCEPTED
from valor_ray.decoding.pixels import upright_rgb
from valor_ray.decoding.source import Bounds, Source, check_size, shrinkage
from valor_ray.errors import ImageError

# What Pillow's decoders raise on damaged files, besides its own UnidentifiedImageError (an OSError).
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, AttributeError,
    RuntimeError, AssertionError, ZeroDivisionError, struct.error,
)  # fmt: skip


def decode_here(source: Source, bounds: Bounds) -> np.ndarray:
    """uint8 (height, width, 3): the first frame, upright. Raises ImageError."""
    if source.form == "HEIF":
        register_heif()
    try:
        with Image.open(io.BytesIO(source.data), formats=(source.form,)) as image:
            check_size(image.width, image.height, bounds)
            factor = shrinkage(image.width, image.height, bounds.max_pixels)
            if factor > 1:  # a JPEG can leave out pixels while it is decoded; others take no notice
                image.draft(None, (image.width // factor, image.height // factor))
            image.load()
            orientation = source.orientation or _orientation(image)
            return upright_rgb(image, orientation, bounds.max_pixels)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"The picture is far too large. The limit is {bounds.max_source_pixels:,} pixels "
            "(images.max_source_pixels). Scale it down first."
        ) from error
    except MemoryError as error:
        raise ImageError(
            f"The picture needs more than {bounds.memory_mib:,} MiB to decode (images.decode_memory_mib). Scale it "
            "down first."
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"This is not a picture that can be read ({len(source.data):,} bytes). {ACCEPTED}"
        ) from error
    except DECODER_ERRORS as error:
        raise ImageError(
            f"The picture is damaged or cut short ({str(error)[:200]}). Save it again or send another."
        ) from error


def register_heif() -> None:
    """Raises ImageError where the decoder is not installed."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(
            "This is a HEIC picture, and no decoder for it is installed here. Install it (pip install pillow-heif), or "
            "save the picture as JPEG."
        ) from error
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False)


def _orientation(image: Image.Image) -> int:
    """What its EXIF or XMP says; 1 where these are broken: the pixels are there all the same."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODER_ERRORS:
        return 1
