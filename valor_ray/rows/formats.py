"""What a file is by its first bytes: rows that can be read, something packed around them, or what to do instead."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import zipfile
from collections.abc import Callable
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from valor_ray.errors import ConfigError

PACKED = (".gz", ".gzip", ".bz2", ".zst", ".zstd")  # endings of what is unpacked while it is read
TAB_NAMES = (".tsv", ".tab")
CSV_NAMES = (".csv", *TAB_NAMES)
_JSON_NAMES = (".jsonl", ".ndjson", ".json")
_HEAD = 512  # bytes that are looked at
_CSV = "Save the sheet with the rows as CSV (UTF-8) and name that file."
_UNPACK = "Unpack it, and name the file with the rows."
_NEVER = (
    "Such files can run code when they are loaded, so none ever is. Write the rows as JSON lines or parquet."
)
_AGAIN = "Write the rows as JSON lines, parquet or CSV."
_PICTURE = "Name a list of questions (JSON lines, parquet, CSV), whose field `image` names the picture."
_WEB = "Download the file itself: what is here is a page about it, or about an error."
# first bytes, where they stand, what that is, what to do
_REFUSED: tuple[tuple[bytes, int, str, str], ...] = (
    (b"ustar", 257, "a tar archive (as of WebDataset)", _UNPACK),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, "an Excel workbook (.xls)", _CSV),
    (b"\xfd7zXZ\x00", 0, "an xz archive", "Unpack it (unxz)."),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", 0, "a RAR archive", _UNPACK),
    (b"\x1f\x8b", 0, "packed twice (gzip)", "Unpack it once."),
    (b"BZh", 0, "packed twice (bzip2)", "Unpack it once."),
    (b"\x28\xb5\x2f\xfd", 0, "packed twice (zstd)", "Unpack it once."),
    (b"\x93NUMPY", 0, "a NumPy array", _AGAIN),
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file", _AGAIN),
    (b"SQLite format 3\x00", 0, "an SQLite database", "Write its table as CSV or JSON lines."),
    (b"FEA1", 0, "a Feather file of version 1", "Write it again with a newer pyarrow, or as parquet."),
    (b"PARE", 0, "an encrypted parquet file", "Write it without encryption."),
    (b"ORC", 0, "an ORC file", "Write it as parquet."),
    (b"Obj\x01", 0, "an Avro file", "Write it as parquet."),
    (b"\x89PNG\r\n", 0, "a picture (PNG)", _PICTURE),
    (b"\xff\xd8\xff", 0, "a picture (JPEG)", _PICTURE),
    (b"GIF8", 0, "a picture (GIF)", _PICTURE),
    (b"WEBP", 8, "a picture (WebP)", _PICTURE),
    (b"%PDF-", 0, "a PDF", _AGAIN),
    (b"<!doctype html", 0, "a web page", _WEB),
    (b"<html", 0, "a web page", _WEB),
    (b"<?xml", 0, "an XML file", _AGAIN),
    (b"version https://git-lfs", 0, "a Git LFS pointer, not the file", "Fetch the file: git lfs pull."),
)
_MARKS = (  # the longer ones first: UTF-16's is how UTF-32's begins
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Format(StrEnum):
    """What can be read as rows."""

    PARQUET = "parquet"
    ARROW_FILE = "arrow file"  # Feather, too
    ARROW_STREAM = "arrow stream"  # as `datasets` keeps what it has on disk
    TEXT = "text"  # JSON or CSV, in UTF-8


def opened(raw: BinaryIO, path: str, name: str) -> tuple[Format, Callable[[], BinaryIO]]:
    """What the file holds, and what gives it from its beginning, unpacked, each time it is called.

    raw: must be kept open, and can be wound back. name: for messages. Raises ConfigError that names what it is where it
    is no file of rows.
    """
    first = raw.read(_HEAD)
    raw.seek(0)
    file = _unpacked(raw, first)
    packed = file is not raw
    head = file.read(_HEAD) if packed else first
    if kind := _table(head):
        if packed:
            raise ConfigError(f"{name} is a table ({kind}) in a packed file. Unpack it, and name the table.")
        return kind, lambda: _again(raw, first)
    if said := _refusal(None if packed else raw, head, path):
        raise ConfigError(f"{name} is {said}")
    encoding = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if encoding is not None:
        return Format.TEXT, lambda: io.BufferedReader(_Recoded(_again(raw, first), encoding))
    return Format.TEXT, lambda: _again(raw, first)


def _again(raw: BinaryIO, head: bytes) -> BinaryIO:
    raw.seek(0)
    return _unpacked(raw, head)


def _unpacked(raw: BinaryIO, head: bytes) -> BinaryIO:
    if head.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if head.startswith(b"BZh"):
        return cast(BinaryIO, bz2.BZ2File(raw))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        return io.BufferedReader(_Zstd(pa.CompressedInputStream(pa.PythonFile(_Lent(raw), "r"), "zstd")))
    return raw


class _Lent:
    """A file that pyarrow reads and does not close when it is done."""

    closed = False

    def __init__(self, raw: BinaryIO) -> None:
        self.read = raw.read

    def close(self) -> None:
        pass


class _Zstd(io.RawIOBase):
    """pyarrow's stream as Python's readers want it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _table(head: bytes) -> Format | None:
    if head.startswith(b"PAR1"):
        return Format.PARQUET
    if head.startswith(b"ARROW1"):
        return Format.ARROW_FILE
    return Format.ARROW_STREAM if head.startswith(b"\xff\xff\xff\xff") else None


def _refusal(raw: BinaryIO | None, head: bytes, path: str) -> str:
    """What the file is, and what to do; "" where it may be text. raw: None for what was packed."""
    if not head:
        return f"empty. {_AGAIN}"
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _zip(raw)
    if _is_pickle(head, path):
        return f"a pickle. {_NEVER}"
    text = head.lstrip(codecs.BOM_UTF8 + b" \t\r\n").lower()
    for start, place, what, to_do in _REFUSED:
        if head[place:].startswith(start) or (start[:1] in b"<v" and text.startswith(start)):
            return f"{what}. {to_do}"
    if b"\0" in head[:4] and not any(head.startswith(mark) for mark, _ in _MARKS):
        return f"neither text nor a format that is known here. {_AGAIN}"
    if suffix_of(path) not in (*_JSON_NAMES, *CSV_NAMES) and text[:1] not in (b"{", b"[", b""):
        return "text, but not JSON. Write JSON lines, or name it .csv (.tsv for tabs) if that is what it is."
    return ""


def suffix_of(path: str) -> str:
    """Of a file's name, in small letters, without what says that it is packed."""
    name = PurePosixPath(path.lower())
    return name.with_suffix("").suffix if name.suffix in PACKED else name.suffix


def _is_pickle(head: bytes, path: str) -> bool:
    """By the mark of protocols 2 to 5, or by name: those before have none."""
    marked = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return marked or suffix_of(path) in (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def _zip(raw: BinaryIO | None) -> str:
    try:
        names = zipfile.ZipFile(raw).namelist() if raw is not None else []
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"a damaged zip archive. {_AGAIN}"
    if any(name.startswith("xl/") for name in names):
        return f"an Excel workbook (.xlsx). {_CSV}"
    if "content.xml" in names:
        return f"an OpenDocument sheet. {_CSV}"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return f"a file of torch.save. {_NEVER}"
    if names and all(name.endswith(".npy") for name in names):
        return f"an archive of NumPy arrays. {_AGAIN}"
    return f"a zip archive. {_UNPACK}"


class _Recoded(io.RawIOBase):
    """Text as bytes of UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file, self._left = file, b""
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises UnicodeDecodeError."""
        ended = False
        while not self._left and not ended:
            data = self._file.read(len(buffer))
            ended = not data
            self._left = self._decoder.decode(data, final=ended).encode("utf-8", "surrogatepass")
        given, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(given)] = given
        return len(given)
