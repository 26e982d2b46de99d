"""Objects under a URL, by fsspec: S3, Google's and Azure's stores, WebDAV, whatever has a handler there.

Only what every store can do: an object is written whole, read whole, listed, removed; it is never changed in a part.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from valor_ray.errors import ConfigError, StorageError

T = TypeVar("T")
Say = Callable[[str], None]
PATIENCE_S = 180.0  # for a store that does not answer: an outage of a minute ends nothing
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # the last one again and again
_AGAIN = "The same command goes on where it stopped."


class ObjectStore:
    """The objects whose names begin with one URL.

    Made by any process that has the URL; a few threads may share it. Every method waits for the store, and where that
    does not answer tries again for up to `patience_s`. Credentials come from where the store's own package looks for
    them (for S3 the variables AWS_…, a profile, the machine's role); they are never kept here.
    """

    def __init__(self, url: str, patience_s: float = PATIENCE_S, say: Say = lambda line: None) -> None:
        """say: told once when the store does not answer. Raises ConfigError when nothing handles such URLs."""
        self.url = url.rstrip("/")
        self._patience_s, self._say = patience_s, say
        self._fs = _handler(self.url)
        self._root = str(self._fs._strip_protocol(self.url)).rstrip("/")
        self._local = self._fs.protocol in (("file", "local"), "file")

    def check(self) -> None:
        """Raises ConfigError when nothing can be written, read or removed there: said before anything is begun."""
        name, patience = f"probe-{uuid.uuid4().hex}", self._patience_s
        self._patience_s = 0.0
        try:
            self.write(name, b"valor_ray")
            if self.read(name) != b"valor_ray":
                raise StorageError(f"{self.url} does not give back what was written.")
            self.remove([name])
        except StorageError as error:
            raise ConfigError(str(error).replace(f" {_AGAIN}", "")) from error
        finally:
            self._patience_s = patience

    def read(self, name: str) -> bytes | None:
        """None: there is no such object. Raises StorageError, as all methods do."""
        return self._tried("read", name, lambda: bytes(self._fs.cat_file(self._at(name))), missing=None)

    def write(self, name: str, content: bytes) -> None:
        """Also over an older one: a reader gets either whole."""
        if self._local:
            self._tried("write", name, lambda: self._put_beside(name, content))
        else:
            self._tried("write", name, lambda: self._fs.pipe_file(self._at(name), content))

    def create(self, name: str, content: bytes) -> bool:
        """Whether it was written: only where there was none (a conditional write, where the store knows such)."""
        try:
            self._tried("write", name, lambda: self._put_new(name, content))
        except FileExistsError:
            return False
        return True

    def names(self, prefix: str = "") -> dict[str, int]:
        """name -> bytes, of all whose name begins with `prefix` (a folder)."""
        found = self._tried("list", prefix, lambda: self._fs.find(self._at(prefix), detail=True), missing={})
        start = len(self._root) + 1
        return {
            path[start:]: int(info["size"] or 0) for path, info in found.items() if info["type"] == "file"
        }

    def remove(self, names: Iterable[str]) -> None:
        """One that is not there has been removed."""
        paths = [self._at(name) for name in names]
        for start in range(0, len(paths), 500):
            some = paths[start : start + 500]
            self._tried("remove", some[0][len(self._root) + 1 :], partial(self._rm, some), missing=None)

    def upload(self, path: Path, name: str) -> None:
        """A file of this machine, however large. Raises FileNotFoundError when that has gone meanwhile."""
        if not path.exists():
            raise FileNotFoundError(path)
        self._tried("write", name, lambda: self._fs.put_file(str(path), self._at(name)))

    def download(self, name: str, path: Path) -> bool:
        """Into a file, there whole or not at all. False: there is no such object."""
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            there = self._tried("read", name, lambda: self._get(name, part), missing=False)
            if there:
                os.replace(part, path)
            return bool(there)
        except OSError as error:
            raise StorageError(
                f"Cannot write {path} ({error.strerror or error}). Make room there. {_AGAIN}"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _get(self, name: str, part: Path) -> bool:
        self._fs.get_file(self._at(name), str(part))
        return True

    def _put_new(self, name: str, content: bytes) -> None:
        if self._local:
            path = Path(self._at(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
        else:
            self._fs.pipe_file(self._at(name), content, mode="create")

    def _put_beside(self, name: str, content: bytes) -> None:
        """Of a disk: no reader sees a half."""
        path = Path(self._at(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
        part.write_bytes(content)
        part.replace(path)

    def _rm(self, paths: list[str]) -> None:
        if len(paths) > 1:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm(paths)
                return
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(path)

    def _tried(
        self,
        what: str,
        name: str,
        call: Callable[[], T],
        **missing: Any,
    ) -> T:
        """What `call` gives; tried again while the store does not answer. missing: what stands for an object that is
        not there; without, that is an error (no bucket)."""
        end, told = time.monotonic() + self._patience_s, False
        for pause in _pauses():
            try:
                return call()
            except FileExistsError:  # `create` hears of it
                raise
            except FileNotFoundError as error:
                if "missing" in missing:
                    return missing["missing"]
                raise StorageError(self._said(what, name, error)) from error
            except Exception as error:  # each store has errors of its own
                if _is_final(error) or time.monotonic() + pause > end:
                    raise StorageError(self._said(what, name, error)) from error
                if not told:
                    self._say(f"{self.url} does not answer ({_short(error)}); trying on")
                    told = True
            time.sleep(pause)
        raise AssertionError

    def _said(self, what: str, name: str, error: Exception) -> str:
        why = (
            "there is no such bucket or folder. Make it"
            if isinstance(error, FileNotFoundError)
            else _why(error)
        )
        return f"Cannot {what} {self.url}/{name}: {why}. {_AGAIN}"


def _pauses() -> Iterable[float]:
    yield from _PAUSES_S
    while True:
        yield _PAUSES_S[-1]


def _handler(url: str) -> Any:
    import fsspec

    scheme = url.partition("://")[0].lower()
    options: Mapping[str, Any] = {"auto_mkdir": True} if scheme in ("file", "local") else {}
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except ImportError as error:
        raise ConfigError(
            f"{url}: {error}. Install that package into the environment of every machine."
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{url}: fsspec knows no {scheme}:// ({error}). Give s3://BUCKET/NAME, gs://BUCKET/NAME, another URL that "
            "it handles, or a folder."
        ) from error


def _is_final(error: Exception) -> bool:
    """Whether trying again can change nothing."""
    if isinstance(error, PermissionError | NotADirectoryError | IsADirectoryError | ValueError):
        return True
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL):
        return True
    return "Credentials" in type(error).__name__ or "ParamValidation" in type(error).__name__


def _why(error: Exception) -> str:
    words = _short(error)
    if isinstance(error, PermissionError):
        return f"no right to do that ({words}). Check the credentials and the bucket's policy"
    if "Credentials" in type(error).__name__:
        return f"{words}. Give them where the store's package looks, on every machine (for S3: AWS_ACCESS_KEY_ID …)"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"it is full ({words}). Make room"
    return words


def _short(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line if len(line) < 200 else f"{line[:200]} …"
