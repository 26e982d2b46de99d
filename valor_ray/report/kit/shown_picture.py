"""A picture that a run's records name, loaded for its page: from this machine, or out of the record itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError
from valor_ray.images import from_data_uri, load
from valor_ray.records import Picture


def load_shown(image: str, place: Callable[[Path], Path]) -> Picture:
    """image: a path, a file or data URI, or an address, of which nothing is fetched. place: where a path's file is now.

    Raises ImageError saying why there is no picture.
    """
    limits = ImageConfig()
    if image.startswith("data:"):
        return from_data_uri(image, limits)
    if "://" in image and not image.startswith("file://"):
        raise ImageError("It is at an address, and making a page fetches nothing.")
    path = Path(unquote(urlsplit(image).path) if image.startswith("file://") else image)
    try:
        return load(place(path), limits)
    except (OSError, ValueError) as error:
        raise ImageError(f"Its name is that of no file ({error}).") from error
