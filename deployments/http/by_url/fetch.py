"""Fetch a picture by URL for a caller, without becoming a window into the network this server stands in."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Awaitable, Callable
from functools import cache

import httpx

from deployments.http.by_url.public_address import resolve_public
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError

TIMEOUT_S = 10.0  # for the whole fetch
MAX_REDIRECTS = 3
_PIECES, _PIECE_BYTES = (
    1000,
    1024,
)  # a body may come in so many pieces, and one more for so many bytes: each costs CPU
Resolver = Callable[[str, int], Awaitable[str]]


@cache
def _trusted() -> ssl.SSLContext:
    """Once: reading the authorities takes longer than a fetch."""
    return httpx.create_ssl_context(trust_env=False)


async def fetch(url: str, limits: ImageConfig, resolve: Resolver = resolve_public) -> bytes:
    """The bytes behind the URL: allowed schemes only, at each redirect too; public addresses; size and time limited.

    The connection goes to the very address that was checked, so a name that changes its address in between gains
    nothing. Raises ImageError.
    """
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S, verify=_trusted()) as client,
        ):
            target = httpx.URL(url)
            for _ in range(MAX_REDIRECTS + 1):
                data, redirect = await _get(client, target, limits, resolve)
                if redirect is None:
                    return data
                target = target.join(redirect)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
        raise ImageError(
            f"The picture's URL could not be read ({type(error).__name__}: {str(error)[:200]}). "
            "Send the picture itself as a data URI."
        ) from error
    raise ImageError(f"The picture's URL redirects more than {MAX_REDIRECTS} times. Send its final address.")


async def _get(
    client: httpx.AsyncClient, url: httpx.URL, limits: ImageConfig, resolve: Resolver
) -> tuple[bytes, str | None]:
    """One request: the body, or where it redirects to."""
    if url.scheme not in limits.url_schemes or not url.host:
        raise ImageError(f"Pictures are not fetched from {url.scheme}:// here. Send the picture itself.")
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    if port > 65535:
        raise ImageError(f"The picture's URL has port {port}; ports end at 65535. Check it.")
    address = await resolve(url.raw_host.decode("ascii"), port)
    request = client.build_request(
        "GET",
        url.copy_with(host=address),
        headers={
            "Host": url.netloc.decode("ascii").rpartition("@")[2],
            "Accept": "image/*",
            "Accept-Encoding": "identity",
        },
        extensions={"sni_hostname": url.host},
    )
    response = await client.send(request, stream=True)
    try:
        if response.has_redirect_location:
            return b"", response.headers["location"]
        if response.status_code != 200:
            raise ImageError(f"The picture's URL answered with status {response.status_code}. Check it.")
        return await _body(response, limits.max_bytes), None
    finally:
        await response.aclose()


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    """The body, unpacked where the server packs it all the same. Raises ImageError as soon as there is too much."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):  # more than one could unpack to anything
        raise ImageError(f"The picture's URL sends it packed ({coding[:40]!r}). Send the picture itself.")
    packed = zlib.decompressobj(31) if "gzip" in coding else None
    data, received, pieces = bytearray(), 0, 0
    async for piece in response.aiter_raw():
        received, pieces = received + len(piece), pieces + 1
        try:
            data += piece if packed is None else packed.decompress(piece, max_bytes + 1 - len(data))
        except zlib.error as error:
            raise ImageError(
                f"The picture's URL sends it packed, and damaged ({error}). Check it."
            ) from error
        if max(len(data), received) > max_bytes:
            raise ImageError(f"The picture behind the URL is larger than {max_bytes:,} bytes.")
        if pieces > _PIECES + received // _PIECE_BYTES:
            raise ImageError("The picture's URL sends it in very small pieces. Send the picture itself.")
    return bytes(data)
