"""The pictures of a benchmark's rows: written under their hash, found beside the rows, or fetched when asked about.

A picture that cannot be had is an ImageError of its question, which the runner records: never an answer.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray import images
from valor_ray.errors import ImageError, StorageError
from valor_ray.queries.embedded import picture_in, put
from valor_ray.queries.read import is_file
from valor_ray.runs.record_file import replace_text

if TYPE_CHECKING:
    from valor_ray.config.service import ImageConfig

TRIES, TIMEOUT_S = 3, 30.0  # of each link


@dataclass(frozen=True)
class Remote:
    """Where a picture can be fetched, one link after the other."""

    links: tuple[str, ...]
    size: tuple[int, int] | None = None  # width, height that it must have


@dataclass
class Pictures:
    """Where a run keeps its benchmark's pictures. Several runs may share a folder."""

    folder: Path
    limits: ImageConfig
    pause_s: float = 1.0  # before a link is tried again, times the try
    remote: dict[str, Remote] = field(default_factory=dict)  # by Query.image

    def keep(
        self,
        image: Any,
        beside: Sequence[Path],
        links: Sequence[str] = (),
        size: tuple[int, int] | None = None,
    ) -> str:
        """What Query.image is of a row: a file, or a key of `remote`.

        image: bytes, {"bytes", "path"}, a data URI, base64, a URL, or a file's name. beside: folders in which a name is
        looked for. Raises ValueError when there is nothing; StorageError.
        """
        try:
            held = picture_in(image)
        except ValueError as error:
            raise ValueError(f"field 'image' {error}") from error
        if isinstance(held, bytes):
            return self._put(held)
        if held.startswith(("http://", "https://")):
            links = (held, *links)
        elif held and (path := _found(held, beside)):
            return str(path)
        if not links:
            raise ValueError(
                f"there is no picture {held[:120]!r}" if held else "field 'image' holds no picture"
            )
        self.remote[links[0]] = Remote(tuple(dict.fromkeys(links)), size)
        return links[0]

    def local(self, image: str) -> Path:
        """The file of a Query.image, fetched if it must be. Blocks for as long as that takes. Raises ImageError."""
        wanted = self.remote.get(image)
        if wanted is None:
            return Path(image)
        name = (
            self.folder / "urls" / hashlib.sha256(image.encode()).hexdigest()[:32]
        )  # holds the picture's name
        if not name.exists() or not (path := self.folder / name.read_text(encoding="utf-8")).exists():
            path = Path(self._put(self._fetched(wanted)))
            name.parent.mkdir(exist_ok=True)
            replace_text(name, path.name)
        return path

    def _fetched(self, wanted: Remote) -> bytes:
        import httpx

        reasons = []
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT_S) as client:
            for link in wanted.links:
                for attempt in range(TRIES):
                    if attempt:
                        time.sleep(self.pause_s * attempt)
                    try:
                        data = client.get(link).raise_for_status().content
                        self._check(data, wanted.size)
                        return data
                    except httpx.HTTPStatusError as error:
                        reason, final = (
                            f"{link}: status {error.response.status_code}",
                            error.response.is_client_error,
                        )
                    except (httpx.HTTPError, httpx.InvalidURL, ImageError) as error:
                        reason, final = (
                            f"{link}: {error or type(error).__name__}",
                            isinstance(error, ImageError),
                        )
                    if final:  # another try changes nothing
                        break
                reasons.append(reason)
        raise ImageError(
            f"The picture could not be had ({'; '.join(reasons)}). Check the network, or put it beside the rows and "
            "give their folder with --data."
        )

    def _check(self, data: bytes, size: tuple[int, int] | None) -> None:
        picture = images.decode(data, self.limits)
        if size is not None and (picture.width, picture.height) != size:
            raise ImageError(
                f"it is {picture.width}x{picture.height} px and the row says {size[0]}x{size[1]}: another picture"
            )

    def _put(self, data: bytes) -> str:
        try:
            return put(data, self.folder)
        except OSError as error:
            raise StorageError(
                f"Cannot write to {self.folder} ({error.strerror}). Free some space, or give --pictures."
            ) from error


def _found(name: str, folders: Sequence[Path]) -> Path | None:
    """With the folders that its name has, else without."""
    names = [each for each in dict.fromkeys((name, Path(name).name)) if each]
    return next(
        (path.absolute() for each in names for folder in folders if is_file(path := folder / each)), None
    )
