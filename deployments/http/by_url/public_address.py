"""Addresses that anybody on the internet can reach, and no others: what a caller's URL may make this server connect to.

The ranges are those of IANA's registries of special-purpose addresses, also those that it calls globally reachable:
behind a translation or tunnel prefix stands any address at all, a private one too, and none of the others has pictures.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from valor_ray.errors import ImageError

_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers' customers; a cloud's metadata
        "127.0.0.0/8",  # this machine
        "168.63.129.16/32",  # not in the registry: Azure's host, from every machine there
        "169.254.0.0/16",  # this link; clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols; a cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# All that is handed out lies here: outside are loopback, link and site, private, multicast, documentation, mapped and
# compatible IPv4, and both translation prefixes (64:ff9b::/96, 64:ff9b:1::/48).
_V6_GLOBAL = IPv6Network("2000::/3")
_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols: Teredo, AMT, AS112, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_DNS = ThreadPoolExecutor(
    16, "dns"
)  # of its own: a name server that does not answer holds up URLs, and nothing else


def is_public(address: str) -> bool:
    """address: IPv4 or IPv6 as `getaddrinfo` writes it, a zone behind % included."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        return ip in _V6_GLOBAL and not any(ip in network for network in _V6)
    return not any(ip in network for network in _V4)


async def resolve_public(host: str, port: int) -> str:
    """An address of the host. Raises ImageError when the name is not known or any of its addresses is not public."""
    loop = asyncio.get_running_loop()
    try:
        entries = await loop.run_in_executor(
            _DNS, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
    except (OSError, ValueError) as error:
        raise ImageError(
            f"The host {host[:200]!r} of the picture's URL is not known. Check the URL."
        ) from error
    addresses = [str(entry[4][0]) for entry in entries]
    if not addresses or not all(map(is_public, addresses)):
        raise ImageError(f"The host {host[:200]!r} is not on the public internet. Send the picture itself.")
    return addresses[0]
