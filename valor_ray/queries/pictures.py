"""Pictures that have no questions yet: those of a folder, or of a list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from valor_ray.errors import ConfigError
from valor_ray.queries.embedded import put
from valor_ray.queries.read import local_picture, located
from valor_ray.queries.sources import open_source

SUFFIXES = frozenset(".png .jpg .jpeg .webp .gif .tif .tiff .bmp .ppm .avif .heic .heif".split())


@dataclass(frozen=True)
class Shot:
    """A picture to ask about."""

    query_id: str  # its path within the folder, or as the list has it
    path: Path
    error: str = ""  # why it cannot be asked about


def pictures_in(folder: Path, named: str) -> list[Path]:
    """Picture files of a folder, with its folders, by name. named: what the user wrote, for the ConfigError when there
    are none."""
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not pictures:
        raise ConfigError(f"{named}: no picture ({' '.join(sorted(SUFFIXES))}) in that folder.")
    return pictures


def list_shots(source: str, limit: int | None, held: Path) -> list[Shot]:
    """The first pictures of a folder (with its folders, by name) or of a JSONL file with a column `image`.

    held: a folder for pictures that rows hold in themselves. Raises ConfigError when there are none, or a row of the
    list names none.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        pictures = pictures_in(folder, f"--images {source}")
        return [_shot(path.relative_to(folder).as_posix(), path) for path in pictures[:limit]]
    listed = open_source(source)
    named: dict[str, Shot] = {}
    for row in listed.rows:
        image = row.fields.get("image")
        if isinstance(image, bytes):
            image = put(image, held)
        if row.error or not image:
            wrong = row.error or "field 'image' must name or hold a picture"
            raise ConfigError(f"--images {listed.name}, {row.place}: {wrong}. Correct that row.")
        named.setdefault(image, _shot(image, local_picture(located(image, listed.folder))))
        if len(named) == limit:
            break
    if not named:
        raise ConfigError(f"--images {source}: there are no rows in it.")
    return list(named.values())


def _shot(name: str, path: Path | None) -> Shot:
    if path is None:
        return Shot(name, Path(), "It is not on this machine. Download the picture and name the file.")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        name = name.encode("utf-8", "backslashreplace").decode()
        return Shot(name, path, "Its name is not UTF-8, so no file can hold it. Rename the picture.")
    return Shot(name, path.absolute())
