"""Pictures as rows hold them: named, or in the row itself as bytes, base64 or a data URI."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from valor_ray.rows.row import json_kind

_BY_CONTENT = "ni:///sha-256;"  # RFC 6920: names what has this hash
_SHORTEST = 40  # characters of a picture in base64
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"BM", ".bmp"),
)


def picture_in(value: Any) -> str | bytes:
    """Path or URL, or the content of a picture's file; "": there is none.

    value: text, bytes, {bytes, path} as Hugging Face data sets have it, {url}, or a list of one of these.
    Raises ValueError that goes on after the field's name: of what is no picture, and of several.
    """
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"holds {len(value)} pictures; a question is about one")
        value = value[0] if value else None
    if isinstance(value, Mapping):
        value = next((found for key in ("bytes", "path", "url") if (found := value.get(key))), None)
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray):
        return _checked(bytes(value)) if value else ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"must name or hold a picture, not {json_kind(value)}")
    return _text(value)


def _text(text: str) -> str | bytes:
    if text[:5].lower() == "data:":
        head, comma, payload = text.partition(",")
        if not comma:
            raise ValueError("holds a data URI without a comma: write data:image/png;base64,DATA")
        return _checked(_decoded(payload) if head.lower().endswith(";base64") else unquote_to_bytes(payload))
    if len(text) >= _SHORTEST and text[:40].isascii() and _BASE64.fullmatch(text[:40]):
        start = base64.b64decode(text[:40])
        if suffix_of(start):
            return _checked(_decoded(text))
    return text


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"holds base64 that is damaged or cut short ({error})") from error


def _checked(data: bytes) -> bytes:
    if not suffix_of(data):
        raise ValueError(
            f"holds {len(data):,} bytes that are no picture (PNG, JPEG, WebP, GIF, TIFF, BMP, ...)"
        )
    return data


def suffix_of(data: bytes) -> str:
    """By the first bytes of a picture's file; "": it is none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[4:8] == b"ftyp":
        return ".heic" if data[8:11] in (b"hei", b"mif") else ".avif"
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return ".ppm"
    return next((suffix for start, suffix in _STARTS if data.startswith(start)), "")


def put(data: bytes, folder: Path | None) -> str:
    """The picture as a file of that folder, named after its content; None: only its name by content, an ni URI.

    Equal pictures are one file. Raises OSError.
    """
    digest = hashlib.sha256(data).digest()
    if folder is None:
        return _BY_CONTENT + base64.urlsafe_b64encode(digest).decode().rstrip("=")
    path = folder.absolute() / f"{digest.hex()[:32]}{suffix_of(data)}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
        part.write_bytes(data)
        os.replace(part, path)
    return str(path)


def hash_named(image: str) -> str | None:
    """The SHA-256 (hex) that an ni URI of `put` names; None: it is none."""
    if not image.startswith(_BY_CONTENT):
        return None
    return base64.urlsafe_b64decode(image.removeprefix(_BY_CONTENT) + "=").hex()
