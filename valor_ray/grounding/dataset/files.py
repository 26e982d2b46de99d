"""Files of the set, replaced all together: a reader sees the last export's or the new one's, never half a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from valor_ray.errors import StorageError


@contextmanager
def replacing(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Where to write each file; when the block ends well they take their names, in the order given.

    When it fails, the files of the last export are as they were. Raises StorageError for an OSError inside: nothing in
    the block may read what the caller's user named.
    """
    parts = {name: folder / f"{name}.part" for name in names}
    with writing(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            yield parts
            for name, part in parts.items():
                part.replace(folder / name)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """An OSError inside becomes a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot write the detection set {place} ({error.strerror or error}). The files of the last export are as "
            "they were. Free some space, then run the same command again: it goes on where it stopped."
        ) from error
