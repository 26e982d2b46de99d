"""Request bodies: fields out of JSON or multipart, and the picture out of its field."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from deployments.http.errors import RequestError
from deployments.http.url_image import fetch
from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError
from valor_ray.records import Picture

JSON = "application/json"
MULTIPART = "multipart/form-data"


async def read_fields(request: Request, allowed: Collection[str]) -> dict[str, Any]:
    """The fields of a JSON object or a multipart form; an uploaded file (`image` or `file`) is `image` as bytes.

    Raises RequestError: 415 for other media types, 400 for what does not parse and for unknown fields.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == MULTIPART:
        fields = await _read_form(request)
    elif media_type == JSON:
        fields = await read_object(request)
    else:
        raise RequestError(415, "media_type", f"Send {JSON} or {MULTIPART}, not {media_type or 'nothing'!r}.")
    unknown = sorted(set(fields) - set(allowed))
    if unknown:
        raise RequestError(
            400, "request", f"Unknown field {unknown[0]!r}. Fields here: {', '.join(allowed)}."
        )
    return fields


async def read_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object, whatever its media type says. Raises RequestError (400)."""
    body = await request.body()
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "json", f"The body is not valid JSON: {str(error)[:200]}.") from error
    if not isinstance(fields, dict):
        raise RequestError(400, "json", f"The body must be a JSON object, not a {type(fields).__name__}.")
    return fields


async def _read_form(request: Request) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    async with request.form(max_files=1, max_fields=16) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                if name not in ("image", "file"):
                    raise RequestError(
                        400, "request", f"Upload the picture as `image` (or `file`), not {name!r}."
                    )
                fields["image"] = await value.read()
            else:
                fields[name] = value
    return fields


async def read_picture(image: object, limits: ImageConfig) -> Picture:
    """Decode the picture of a request: bytes of an upload, a data URI, base64, or a URL of an allowed scheme.

    Raises ImageError. Nothing is ever read from this machine's files.
    """
    if isinstance(image, bytes):
        return await asyncio.to_thread(images.decode, image, limits)
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
        return await asyncio.to_thread(images.decode, await fetch(image.strip(), limits), limits)
    return await asyncio.to_thread(images.from_data_uri, image, limits)
