"""Pictures between the front door and the parts: few pixels as they are, many as the file that the door has checked.

12 megapixels are 36 MB of pixels, in Ray's object store for each call of a part, and a few MB as a file. A part decodes
it within the limits of the door, so what was halved there is halved here, and proves by the key that it sees the same
pixels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployments.parts.cache import ContentCache
from valor_ray import images
from valor_ray.errors import ImageError, ServiceError
from valor_ray.images import FilePicture
from valor_ray.records import BBox, Picture

if TYPE_CHECKING:
    from valor_ray.config.service import ImageConfig

LEAST_BYTES = 4 * 2**20  # of pixels: fewer are copied in less time than any file is decoded
_LEAST_GAIN = 2  # times as many bytes of pixels as of the file
_KEPT_BYTES = 256 * 2**20  # of decoded pixels in a replica: seven pictures of 12 megapixels
_SLACK = 4  # times the CPU that the door allows: what has passed there must not fail here by a little


@dataclass(frozen=True)
class Parcel:
    """In place of a picture: FilePicture without its pixels."""

    file: bytes = field(repr=False)
    limits: ImageConfig
    whole: str  # key of the picture of all of the file
    region: BBox | None
    key: str  # of the picture itself


Sent = Picture | Parcel


def packed(picture: Picture) -> Sent:
    """What is sent to a part in place of the picture."""
    if not isinstance(picture, FilePicture):
        return picture
    if picture.rgb.nbytes < max(LEAST_BYTES, _LEAST_GAIN * len(picture.file)):
        return Picture(picture.rgb, picture.key)
    return Parcel(picture.file, picture.limits, picture.whole, picture.region, picture.key)


class Opened:
    """The pictures of a replica's callers: each file is decoded once while it is remembered. For one event loop."""

    def __init__(
        self, decode: Callable[[bytes, ImageConfig], Awaitable[Picture]] = images.decode_soon
    ) -> None:
        self._decode = decode
        self._kept: ContentCache[Picture] = ContentCache(
            most_bytes=_KEPT_BYTES, weigh=lambda picture: picture.rgb.nbytes
        )

    async def picture(self, sent: Sent) -> Picture:
        """The picture that the caller has. Raises ServiceError where it is not the same here."""
        if isinstance(sent, Picture):
            return sent
        try:
            picture = await self._kept.get(sent.whole, lambda: self._decoded(sent))
            if sent.region is not None:
                picture = await asyncio.to_thread(images.crop, picture, sent.region)
        except ImageError as error:
            raise _differs(str(error)) from error
        if picture.key != sent.key:
            raise _differs(f"{picture.width}x{picture.height} px, or other pixels")
        return picture

    async def _decoded(self, sent: Parcel) -> Picture:
        limits = sent.limits.model_copy(update={"decode_seconds": _SLACK * sent.limits.decode_seconds})
        return await self._decode(sent.file, limits)


def _differs(found: str) -> ServiceError:
    return ServiceError(
        f"A picture is decoded otherwise here than at the front door ({found}). Give all machines the same packages "
        "(Pillow, pillow-heif)."
    )
