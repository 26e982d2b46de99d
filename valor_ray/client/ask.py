"""Ask a running `valor serve` over HTTP, with the standard library alone (so that `valor ask` starts at once)."""

from __future__ import annotations

import base64
import json
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from valor_ray.client.reply import read_object
from valor_ray.errors import ImageError, ServiceError

DEFAULT_URL = "http://127.0.0.1:8000"
_MOST_BYTES = 2**26  # of a picture's file; a server takes less (images.max_bytes)
_OPENER = build_opener(ProxyHandler({}))  # never through a proxy meant for the internet


class Refused(ServiceError):
    """The server answered with an error; `code` is the one it gave."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def ask(
    image: Path,
    question: str,
    *,
    url: str = DEFAULT_URL,
    token: str | None = None,
    timeout_s: float = 300,
    samples: int | None = None,
    select: str | None = None,
    seed: int | None = None,
    repairs: int | None = None,
) -> dict[str, Any]:
    """One question about a picture file: {answer, plan, code, trace, error, seconds, width, height}; of several
    samples also {selection, candidates}, of a reply that was repaired {attempts}. None: as the server is set.

    Raises ImageError when the file cannot be read, ServiceError when there is no server, Refused when it refuses.
    """
    try:
        with image.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ImageError(
            f"Cannot read the picture {image}: {error.strerror or error}. Check the path."
        ) from error
    if len(data) > _MOST_BYTES:
        raise ImageError(f"{image} has more than {_MOST_BYTES:,} bytes. Scale the picture down first.")
    encoded = base64.b64encode(data).decode("ascii")
    wishes = {"samples": samples, "select": select, "seed": seed, "repairs": repairs}
    body: dict[str, Any] = {"image": encoded, "question": question}
    body |= {name: value for name, value in wishes.items() if value is not None}
    return post(url, "/v1/answer", body, token=token, timeout_s=timeout_s)


def post(
    url: str, path: str, body: dict[str, Any], *, token: str | None = None, timeout_s: float = 300
) -> dict[str, Any]:
    """POST JSON to an endpoint and return its JSON. Raises ServiceError or Refused."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        request = Request(url.rstrip("/") + path, json.dumps(body).encode(), headers)
        if request.type not in ("http", "https"):
            raise ValueError(f"{request.type}:// is not http")
        with _OPENER.open(request, timeout=timeout_s) as response:
            return read_object(response)
    except HTTPError as error:
        raise _refused(url, error) from error
    except ValueError as error:  # not a URL, or a reply that is not JSON
        raise ServiceError(
            f"{url} is not a valor server ({error}). Give --url like {DEFAULT_URL}."
        ) from error
    except TimeoutError as error:
        raise ServiceError(
            f"The server at {url} did not answer within {timeout_s:g} s. Is it overloaded?"
        ) from error
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ServiceError(
            f"No server answers at {url} ({reason}). Start one with `valor serve`, or give its address with --url."
        ) from error


def _refused(url: str, error: HTTPError) -> ServiceError:
    try:
        detail = read_object(error)["error"]
        return Refused(str(detail["code"]), str(detail["message"]))
    except (ValueError, KeyError, TypeError, HTTPException, OSError):
        return ServiceError(f"{url} answered with status {error.code}: is it a valor server?")
