"""Request bodies: fields out of JSON or multipart, and the picture out of its field."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from deployments.http.by_url.fetch import fetch
from deployments.http.errors import RequestError
from deployments.http.schema.fields import checked
from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError
from valor_ray.images import FilePicture
from valor_ray.untrusted.decode import DecodeError, Limits, decode

JSON = "application/json"
MULTIPART = "multipart/form-data"
_PIECE = 2**16  # bytes of a form that are parsed before others have their turn
_MOST_FIELDS = 128
_COPIES = 4  # of a picture's file, its base64 in the body and as text included (4/3 each): there until its request ends
_SEVERAL = "phrases"  # the one field that a form may hold several times
M = TypeVar("M", bound=BaseModel)


async def read_fields(request: Request, body: bytes, model: type[M]) -> M:
    """The fields of a JSON object or a multipart form; an uploaded file (`image` or `file`) is `image` as bytes.

    Raises RequestError: 415 for other media types, 400 for what does not parse and for fields that are not as in
    `model`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == MULTIPART:
        return checked(model, await _read_form(request, body), texts=True)
    if media_type == JSON:
        return checked(model, read_object(body))
    raise RequestError(
        415, "media_type", f"Send {JSON} or {MULTIPART}, not {media_type[:60] or 'nothing'!r}."
    )


def read_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises RequestError (400)."""
    try:
        fields = decode(body, Limits(max_bytes=len(body)))
    except DecodeError as error:
        raise RequestError(400, "json", f"The body cannot be read: {error}.") from None
    if not isinstance(fields, dict):
        raise RequestError(400, "json", f"The body must be a JSON object, not a {type(fields).__name__}.")
    return fields


async def _read_form(request: Request, body: bytes) -> dict[str, Any]:
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"utf-8").lower()
    if charset not in (b"utf-8", b"utf8", b"us-ascii"):  # some of Python's take minutes for a megabyte
        raise RequestError(
            415, "media_type", f"Send the form in UTF-8, not {charset[:40].decode('latin-1')!r}."
        )

    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), _PIECE):
            yield body[start : start + _PIECE]
            await asyncio.sleep(0)

    parser = MultiPartParser(
        request.headers, pieces(), max_files=1, max_fields=_MOST_FIELDS, max_part_size=len(body)
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(400, "request", f"The form cannot be read: {error.message}") from None
    try:
        return await _fields(form.multi_items())
    finally:
        await form.close()


async def _fields(items: list[tuple[str, str | UploadFile]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in items:
        if isinstance(value, UploadFile):
            if name not in ("image", "file"):
                message = f"Upload the picture as `image` (or `file`), not {name[:60]!r}."
                raise RequestError(400, "request", message)
            name = "image"
        if name == _SEVERAL:
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise RequestError(400, "request", f"The field `{name[:60]}` is there twice: send it once.")
        else:
            fields[name] = await value.read() if isinstance(value, UploadFile) else value
    return fields


def largest(limits: ImageConfig) -> int:
    """Bytes that a request holds for the largest picture."""
    return _COPIES * limits.max_bytes + 3 * limits.max_pixels


async def read_picture(
    image: object, limits: ImageConfig, hold: Callable[[int], None] = lambda size: None
) -> FilePicture:
    """Decode the picture of a request: bytes of an upload, a data URI, base64, or a URL of an allowed scheme.

    hold: is told the bytes that the picture takes, of its file before it is decoded, and may refuse it by raising.
    Raises ImageError. Nothing is ever read from this machine's files.
    """
    data = await _file_of(image, limits)
    hold(_COPIES * len(data))
    picture = await images.decode_with_file(data, limits)
    hold(picture.rgb.nbytes)
    return picture


async def _file_of(image: object, limits: ImageConfig) -> bytes:
    if isinstance(image, bytes):
        return image
    if image is None:
        raise ImageError("There is no picture. Send `image` as a data URI or base64, or upload a file.")
    if not isinstance(image, str):
        raise ImageError("`image` must be text: a data URI or base64.")
    scheme, separator, _ = image[:32].strip().partition("://")
    if separator:
        if scheme.lower() not in limits.url_schemes:
            allowed = ", ".join(limits.url_schemes) or "none"
            raise ImageError(
                f"Pictures are not fetched from {scheme}:// here (allowed schemes: {allowed}). "
                "Send the picture itself as a data URI or base64."
            )
        return await fetch(image.strip(), limits)
    return await asyncio.to_thread(images.bytes_of, image, limits)
