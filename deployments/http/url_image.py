"""Fetch a picture by URL for a caller, without becoming a window into the network this server stands in."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

import httpx

from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError

TIMEOUT_S = 10.0  # for the whole fetch
MAX_REDIRECTS = 3
Resolver = Callable[[str, int], Awaitable[str]]


async def resolve_public(host: str, port: int) -> str:
    """An address of the host. Raises ImageError when any of them is private, loopback or otherwise not public."""
    try:
        entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ImageError(f"The host {host!r} of the picture's URL is not known. Check the URL.") from error
    addresses = [str(entry[4][0]) for entry in entries]
    for address in addresses:
        ip = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(ip, "ipv4_mapped", None) or ip
        if not mapped.is_global or mapped.is_multicast:
            raise ImageError(f"The host {host!r} is not on the public internet. Send the picture itself.")
    return addresses[0]


async def fetch(url: str, limits: ImageConfig, resolve: Resolver = resolve_public) -> bytes:
    """The bytes behind the URL: allowed schemes only, at each redirect too; public addresses; size and time limited.

    The connection goes to the very address that was checked, so a name that changes its address in between gains
    nothing. Raises ImageError.
    """
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as client,
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
    address = await resolve(url.host, port)
    request = client.build_request(
        "GET",
        url.copy_with(host=address),
        headers={"Host": url.netloc.decode("ascii").rpartition("@")[2], "Accept": "image/*"},
        extensions={"sni_hostname": url.host},
    )
    response = await client.send(request, stream=True)
    try:
        if response.has_redirect_location:
            return b"", response.headers["location"]
        if response.status_code != 200:
            raise ImageError(f"The picture's URL answered with status {response.status_code}. Check it.")
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > limits.max_bytes:
                raise ImageError(f"The picture behind the URL is larger than {limits.max_bytes:,} bytes.")
        return bytes(data), None
    finally:
        await response.aclose()
