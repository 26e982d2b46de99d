"""Which addresses count as public: a table of all special ranges, however an address is spelled."""

from __future__ import annotations

import asyncio
import socket
import threading
from ipaddress import IPv6Address, ip_network

import pytest
from hostile_pictures import encode
from PIL import Image

from deployments.http.by_url import public_address
from deployments.http.by_url.public_address import is_public, resolve_public
from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError

# IANA's special-purpose registries for IPv4 and IPv6, multicast, and what was special once.
SPECIAL = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29 192.0.0.8/32
192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.192/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24
192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32
168.63.129.16/32 100.100.100.200/32 169.254.169.254/32
::/128 ::1/128 ::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23
2001::/32 2001:1::1/128 2001:1::2/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28
2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fd00:ec2::254/128 fe80::/10 fec0::/10 ff00::/8
4000::/3 8000::/1 200::/7 400::/6
""".split()
PUBLIC = """
8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 128.0.0.1 169.253.255.255 172.15.255.255 172.32.0.0
192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
2001:200:: 2001:4860:4860::8888 2606:4700:4700::1111 2003:: 2a00:1450:4001::200e 3ffe:: 3fff:1000::
""".split()
EMBEDDED = ("169.254.169.254", "127.0.0.1", "10.0.0.1")


@pytest.mark.parametrize("network", SPECIAL)
def test_no_address_of_a_special_range_is_public(network: str) -> None:
    addresses = ip_network(network)
    for address in (addresses[0], addresses[-1], addresses[addresses.num_addresses // 2]):
        assert not is_public(str(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_beside_special_ranges_are_public(address: str) -> None:
    assert is_public(address)
    assert asyncio.run(resolve_public(address, 80)) == address


@pytest.mark.parametrize("prefix", ["64:ff9b::", "64:ff9b:1::", "::", "::ffff:", "::ffff:0:", "2002:"])
def test_private_addresses_behind_translations_and_tunnels_are_not_public(prefix: str) -> None:
    for inside in EMBEDDED:
        number = int.from_bytes(socket.inet_aton(inside), "big")
        tunnel = str(IPv6Address((0x2002 << 112) | (number << 80) | 1))
        address = tunnel if prefix == "2002:" else f"{prefix}{inside}"
        assert not is_public(address)
        with pytest.raises(ImageError, match="not on the public internet"):
            asyncio.run(resolve_public(address, 80))


@pytest.mark.parametrize(
    "host",
    ["localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "::1", "fe80::1", "0x7f.1", "[::1]",
     "no-such-host.invalid", "a" * 300, "", ".", "a..b", "\udc80", "127.0.0.1\0.example", "127.0.0.1."],
)  # fmt: skip
def test_other_spellings_and_names_that_do_not_exist_are_refused(host: str) -> None:
    with pytest.raises(ImageError):
        asyncio.run(resolve_public(host, 80))


def test_one_private_address_among_public_ones_refuses_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(public_address.socket, "getaddrinfo", lambda *_, **__: entries)
    with pytest.raises(ImageError, match="not on the public internet"):
        asyncio.run(resolve_public("both.example", 80))


def test_names_that_are_slow_to_resolve_hold_up_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def slow(*_: object, **__: object) -> list:
        answered.wait(60)
        return []

    monkeypatch.setattr(public_address.socket, "getaddrinfo", slow)
    pictures = [encode(Image.new("RGB", (9, 9)), form) for form in ("PNG", "GIF")]

    async def main() -> None:
        waiting = [asyncio.create_task(resolve_public(f"{n}.example", 80)) for n in range(20)]
        await asyncio.sleep(0)
        for data in pictures:
            assert (await images.decode_soon(data, ImageConfig())).width == 9
        assert not any(task.done() for task in waiting)
        answered.set()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(main())
