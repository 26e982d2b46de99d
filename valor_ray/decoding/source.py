"""A picture file as the decoders take it, and the bounds that it must keep."""

from __future__ import annotations

from dataclasses import dataclass

from valor_ray.errors import ImageError

MIN_SIDE = 2  # px; below this there is nothing to look at
MAX_ASPECT = 100  # longest over shortest side; thinner pictures turn to nothing when the models scale them
QUICK_BYTES = 64 * 2**20  # of pixels; a decoder of bounded speed is through with them in well under a second


@dataclass(frozen=True)
class Bounds:
    """What one picture may take (section `images` of the settings)."""

    max_pixels: int  # of the decoded picture
    max_source_pixels: int  # of the file; what has more than max_pixels is halved until it fits
    seconds: float  # of a decoder's CPU
    memory_mib: int  # that a decoder may allocate
    decoders: int  # processes at a time


@dataclass(frozen=True)
class Source:
    """The file, without what the pixels do not need."""

    form: str  # of FORMATS
    data: bytes
    orientation: int | None = None  # EXIF, 1..8; None: the decoder is to look for it
    quick: bool = False  # its header bounds the decoder's work: it may run here, where nothing can stop it


def check_size(width: int, height: int, bounds: Bounds) -> None:
    """Of the file, before a pixel is decoded. Raises ImageError."""
    if width * height > bounds.max_source_pixels:
        raise ImageError(
            f"The picture is {width:,}x{height:,} px. The limit is {bounds.max_source_pixels:,} pixels "
            "(images.max_source_pixels). Scale it down first."
        )
    short, long = sorted((width, height))
    if short < MIN_SIDE or long > short * MAX_ASPECT:
        raise ImageError(
            f"The picture is {width}x{height} px. Both sides must be at least {MIN_SIDE} px and the longer one at "
            f"most {MAX_ASPECT} times the shorter: crop it or send another."
        )


def shrinkage(width: int, height: int, max_pixels: int) -> int:
    """By how much each side is divided: 1, or the smallest power of two with which the picture fits."""
    factor = 1
    while -(-width // factor) * -(-height // factor) > max_pixels:
        factor *= 2
    return factor
