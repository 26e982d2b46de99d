"""URLs in every spelling: bytes or an ImageError, and never a connection to an address that is not public."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpcore
from hypothesis import given
from hypothesis import strategies as st

from deployments.http.by_url.public_address import is_public
from deployments.http.input import read_picture
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError

LIMITS = ImageConfig(url_schemes=("http", "https"), max_bytes=10_000)
SPELLINGS = (
    "127.0.0.1 127.1 2130706433 0x7f000001 0177.0.0.1 0x7f.0.0.1 127.0.0.1. 0 0.0.0.0 017700000001 1.1.1.1 8.8.8.8 "
    "134744072 169.254.169.254 2852039166 [::1] [::] [::ffff:127.0.0.1] [::ffff:8.8.8.8] [::127.0.0.1] [fec0::1] "
    "[64:ff9b::7f00:1] [2002:7f00:1::] [fe80::1%25eth0] [fe80::1%eth0] [2001::1] [2606:4700:4700::1111] localhost "
    "LOCALHOST localhost. ①②⑦.⓪.⓪.① １２７.０.０.１ 127。0。0。1 xn--ls8h.invalid bücher.invalid a..b - _ % [ ] [v1.x] "
    "%31%32%37.0.0.1 127.0.0.1%00.example"
).split()
HOSTS = st.one_of(
    st.sampled_from(SPELLINGS),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
    st.integers(0, 2**33).map(str),
    st.integers(0, 2**32).map(hex),
    st.text(max_size=8),
)
URLS = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(("http://", "https://", "HTTP://", "http:", "http:/", "http:///", "//", "file://", "ftp://", "\thttp://")),
    st.one_of(st.just(""), st.text(max_size=5).map(lambda text: f"{text}@"), st.just("8.8.8.8:80@"), st.just("u:p@")),
    HOSTS,
    st.one_of(st.just(""), st.integers(-1, 70_000).map(lambda port: f":{port}"), st.just(":"), st.just(":x")),
    st.sampled_from(("/", "", "/x.png", "?q", "#f", "/\\x", "\\", "/ x", "/%zz", "@8.8.8.8/", "/\r\nHost: x")),
    st.text(max_size=4),
)  # fmt: skip


class Watched(httpcore.AsyncNetworkBackend):
    """Writes down who is connected to, and answers with what a server may say."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.connected: list[str] = []

    async def connect_tcp(self, host: str, port: int, **_: object) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        return httpcore.AsyncMockStream([self.answer])

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@contextmanager
def network(answer: bytes) -> Iterator[Watched]:
    """No packet leaves: names are not resolved, and every connection is one of Watched."""
    watched = Watched(answer)
    usual = httpcore.AsyncConnectionPool.__init__

    def start(self: httpcore.AsyncConnectionPool, **options: object) -> None:
        usual(self, **{**options, "network_backend": watched})

    resolver = socket.getaddrinfo

    def numbers_only(host: str, port: int, **options: object) -> list:
        if host.rstrip(".").lower() == "localhost":
            host = "127.0.0.1"
        return resolver(host, port, flags=socket.AI_NUMERICHOST, **options)

    httpcore.AsyncConnectionPool.__init__, socket.getaddrinfo = start, numbers_only
    try:
        yield watched
    finally:
        httpcore.AsyncConnectionPool.__init__, socket.getaddrinfo = usual, resolver


def check(url: str, answer: bytes) -> list[str]:
    """Whom the URL has led to."""
    with network(answer) as watched:
        try:
            asyncio.run(read_picture(url, LIMITS))
        except ImageError as error:
            assert str(error)
    for host in watched.connected:
        assert is_public(host) and ipaddress.ip_address(host).is_global
    return watched.connected


def test_public_addresses_are_connected_to_so_that_the_tests_here_see_something() -> None:
    moved = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://%s/\r\n\r\n"
    assert check("http://134744072/", moved % b"1.1.1.1:8080") == ["8.8.8.8", "1.1.1.1", "1.1.1.1", "1.1.1.1"]
    assert check("http://[2606:4700:4700::1111]/", moved % b"127.1") == ["2606:4700:4700::1111"]


@given(URLS)
def test_no_url_leads_to_an_address_that_is_not_public(url: str) -> None:
    check(url, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nGIF8")


@given(URLS)
def test_no_redirect_leads_to_an_address_that_is_not_public(url: str) -> None:
    location = url.encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"")
    check(
        "http://8.8.8.8/", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    )


@given(
    st.binary(max_size=400), st.sampled_from((b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 x\r\nLocation: "))
)
def test_no_answer_of_a_server_raises_anything_but_an_image_error(answer: bytes, head: bytes) -> None:
    check("http://8.8.8.8/", head + answer)
