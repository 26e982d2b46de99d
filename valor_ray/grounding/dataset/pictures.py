"""Where the set's pictures lie, and pictures that other tools would see turned, larger or not at all: those are copied.

A copy has the very pixels that the boxes are measured in.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

from PIL import Image

from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError
from valor_ray.grounding.dataset.files import replacing
from valor_ray.grounding.dataset.training import TrainingImage
from valor_ray.queries.read import local_picture
from valor_ray.records import MinedImage, Picture

COPIES = "images"  # folder of the upright copies, within the set's
_QUALITY = 95  # of copies of JPEG files; others become PNG


class Pictures:
    """Names the pictures' files for the exports. Memory: a path a picture."""

    def __init__(self, folder: Path, limits: ImageConfig) -> None:
        self._folder = folder.absolute()
        self._limits = limits
        self._places: dict[str, Path | str] = {}  # key -> file, or URL
        self._shared = ""  # deepest folder of all files that are no copies
        self._copied: set[str] = set()  # keys

    def add(self, image: MinedImage) -> None:
        """Note where a picture lies; reads the file's header, and copies it when others would not see the same pixels.

        A file that cannot be read keeps its name: whoever loads it is told. Raises StorageError.
        """
        path = local_picture(image.image)
        if path is None:
            self._places[image.key] = image.image
            return
        path = Path(os.path.abspath(path))
        if (copy := self._copy(path, image.key)) is not None:
            self._places[image.key] = copy
            self._copied.add(image.key)
            return
        self._places[image.key] = path
        within = str(path.parent)
        self._shared = os.path.commonpath([self._shared, within]) if self._shared else within

    @property
    def root(self) -> str | None:
        """The folder to which filenames are relative: itself relative to the set's when it lies in the same run.

        None when the pictures share no folder (but that of all files), or all are URLs.
        """
        root = self._root()
        if root is None or not root.is_relative_to(self._folder.parent):
            return None if root is None else str(root)
        return Path(os.path.relpath(root, self._folder)).as_posix()

    def filename(self, key: str) -> tuple[str, bool]:
        """The picture's file for ODVG and COCO, and whether it is an upright copy."""
        place, root = self._places[key], self._root()
        if isinstance(place, Path):
            inside = root is not None and place.is_relative_to(root)
            place = place.relative_to(root).as_posix() if root is not None and inside else str(place)
        return place, key in self._copied

    def _root(self) -> Path | None:
        if not self._shared:
            return self._folder / COPIES if self._copied else None
        root = Path(self._shared)
        return None if root == Path(root.anchor) else root

    def _copy(self, path: Path, key: str) -> Path | None:
        """The upright copy, made unless it is there; None when the file's pixels are upright, or it is not readable."""
        folder = self._folder / COPIES
        for suffix in ("jpg", "png"):
            if (made := folder / f"{key[:32]}.{suffix}").exists():
                return made
        if (form := _copied_form(path, self._limits)) is None:
            return None
        copy = folder / f"{key[:32]}.{'jpg' if form == 'JPEG' else 'png'}"
        try:
            picture = images.load(path, self._limits)
        except ImageError:
            return None
        if picture.key != key:  # another picture lies there by now
            return None
        with replacing(folder, [copy.name]) as parts:
            parts[copy.name].write_bytes(_encoded(picture, form))
        return copy


def load_picture(entry: TrainingImage, limits: ImageConfig) -> Picture:
    """The upright pixels to which an entry's boxes belong (of `training_images`, which knows the path).

    Raises ImageError: the file is not there, is no picture, lies behind a URL, or has changed since it was mined.
    """
    path = local_picture(entry.path)
    if path is None:
        raise ImageError(
            f"{entry.path or entry.filename} is not on this machine. Download it and mine the file."
        )
    picture = images.load(path, limits)
    same = entry.copied or picture.key == entry.key
    if not same or (picture.width, picture.height) != (entry.width, entry.height):
        raise ImageError(
            f"{path} is not the picture that was mined ({entry.width}x{entry.height} px): it has changed since. Put "
            "the old file back, or mine it again under another name."
        )
    return picture


def _copied_form(path: Path, limits: ImageConfig) -> str | None:
    """The format of the copy that a file needs; None: it needs none, or cannot be read."""
    try:
        seen = images.header(path, limits)
    except ImageError:
        return None
    if not seen.turned and seen.factor == 1 and seen.form != "HEIF":
        return None
    return "JPEG" if seen.form in ("JPEG", "HEIF") else "PNG"


def _encoded(picture: Picture, form: str) -> bytes:
    if form != "JPEG":
        return images.to_png(picture)
    buffer = BytesIO()
    Image.fromarray(picture.rgb).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
