"""Where a run is: a folder, or a URL. A URL has a folder on every machine, whose path says which URL it is of.

So all that works on a run goes on with a path; what must be in the store asks `objects_of` for the store of that path.

    s3://bucket/runs/first   <->   STAGING/valor-runs-at/s3/bucket/runs/first
"""

from __future__ import annotations

import shutil
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from valor_ray.config.on_disk import is_url
from valor_ray.errors import CheckpointError, ConfigError, ValorError
from valor_ray.runs.store.lease import Lease
from valor_ray.runs.store.mirror import Mirror, fetch_file, read_manifest
from valor_ray.runs.store.objects import ObjectStore

_MARK = "valor-runs-at"
_open: dict[Path, Mirror] = {}  # runs that this process writes


def run_path(text: str) -> Path:
    """argparse type: a folder, or the folder of this machine that stands for a URL."""
    try:
        return local_folder(text) if is_url(text) else Path(text)
    except ConfigError as error:
        raise ArgumentTypeError(str(error)) from error


def local_folder(url: str) -> Path:
    """The folder of this machine for a run at a URL. Raises ConfigError when nothing handles such URLs."""
    scheme, _, rest = url.partition("://")
    names = [name for name in rest.split("/") if name]
    if not names or any(name in (".", "..") for name in names):
        raise ConfigError(f"{url}: give a place in a store, like s3://bucket/runs/first.")
    from valor_ray.config.service import staging_folder  # the help of a command needs no settings

    ObjectStore(url)
    return (
        Path(staging_folder()).resolve()
        / _MARK
        / scheme.lower()
        / Path(*(quote(name, safe="") for name in names))
    )


def url_of(path: Path) -> str | None:
    """The URL that a path stands for; None: it is a path and no more."""
    names = path.parts
    if _MARK not in names:
        return None
    scheme, *rest = names[names.index(_MARK) + 1 :]
    root = "/" if scheme in ("file", "local") else ""
    return f"{scheme}://{root}{'/'.join(unquote(name) for name in rest)}"


def shown(path: Path) -> str:
    """A run's place as its user has named it."""
    return url_of(path) or str(path)


def objects_of(path: Path, say: Callable[[str], None] = lambda line: None) -> ObjectStore | None:
    """The store of a run folder, or of a folder in one; None where the disk is all there is."""
    url = url_of(path)
    return None if url is None else ObjectStore(url, say=say)


@contextmanager
def stored(
    folder: Path, option: str, say: Callable[[str], None], *, apart: tuple[str, ...] = ()
) -> Iterator[None]:
    """A run's folder as the store has it, and what is done there in the store when the block ends.

    Every command that writes a run enters it first; for a folder that is no URL's it does nothing. option: of the
    command, names the run. apart: names in it that their owners bring to the store themselves. Raises ConfigError when
    nothing can be written there or another run writes; StorageError, CheckpointError.
    """
    objects = objects_of(folder, say)
    if objects is None or folder in _open:
        yield
        return
    objects.check()
    lease = Lease(objects)
    lease.take(option, say)
    try:
        mirror = Mirror(folder, objects, lease, apart, say)
        mirror.pull()
        mirror.start()
        _open[folder] = mirror
        try:
            yield
        finally:
            del _open[folder]
            mirror.close()
    finally:
        lease.give_back()


@contextmanager
def looked_at(folder: Path, option: str, *, apart: tuple[str, ...] = ()) -> Iterator[Path]:
    """A folder with what a run holds, to be read only: a copy, where the run is at a URL."""
    objects = objects_of(folder)
    if objects is None:
        yield folder
        return
    copy = Path(tempfile.mkdtemp(prefix="valor-look-"))
    try:
        Mirror(copy, objects, None, apart).pull()
        yield copy
    except ValorError as error:
        raise ConfigError(f"{option} {objects.url}: {error}") from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def commit(folder: Path) -> None:
    """What is recorded in a run folder is in its store when this returns; on a disk it is where it belongs already.

    Called by the process that entered `stored`, before anybody goes on from what was recorded. Raises StorageError.
    """
    if (mirror := _open.get(folder)) is not None:
        mirror.push()


def present(path: Path) -> Path:
    """A file of a run folder, fetched from the run's store where this machine lacks it.

    Called by workers on machines that the driver has not written to. Raises CheckpointError, StorageError.
    """
    if path.exists() or (url := url_of(path)) is None:
        return path
    for depth, above in enumerate(path.parents, start=1):
        if url_of(above) in (None, f"{url.partition('://')[0]}://"):
            break
        objects = ObjectStore(str(url_of(above)))
        files = read_manifest(objects)
        if not files:
            continue
        name = Path(*path.parts[-depth:]).as_posix()
        if name not in files:
            break
        fetch_file(objects, path, files[name])
        return path
    raise CheckpointError(f"{url} is not there.")
