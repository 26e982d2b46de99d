"""Pictures by URL: fetched when the settings allow it, never from places that only this machine can reach."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deployments.http.by_url import fetch as fetching
from deployments.http.by_url.fetch import fetch
from deployments.http.input import read_picture
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError

HTTP = ImageConfig(url_schemes=("http",), max_bytes=1000)


BOMB = gzip.compress(bytes(50 * 2**20))
PACKED = {
    "/gzip": ("gzip", gzip.compress(b"picture")),
    "/bomb": ("gzip", BOMB[:900]),
    "/twice": ("gzip, gzip", gzip.compress(BOMB)),
    "/brotli": ("br", b"picture"),
    "/no-gzip": ("gzip", b"picture"),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        redirects = {
            "/to-file": "file:///etc/passwd",
            "/to-https": "https://example.org/",
            "/again": "/again",
            "/once": "/ok",
        }
        if self.path in redirects:
            self.send_response(302)
            self.send_header("Location", redirects[self.path])
            self.end_headers()
            return
        if self.path == "/slow":
            time.sleep(2)
        if self.path in PACKED:
            coding, body = PACKED[self.path]
            self.send_response(200)
            self.send_header("Content-Encoding", coding)
            self.end_headers()
            self.wfile.write(body)
            return
        if self.path == "/drip":
            self.protocol_version = "HTTP/1.1"
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n")
            return
        if self.path == "/asked":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers["Accept-Encoding"].encode())
            return
        self.send_response(404 if self.path == "/missing" else 200)
        self.end_headers()
        self.wfile.write({"/ok": self.headers["Host"].encode()}.get(self.path, b"x" * 5000))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


async def to_loopback(host: str, port: int) -> str:
    return "127.0.0.1"


def get(url: str) -> bytes:
    return asyncio.run(fetch(url, HTTP, to_loopback))


def test_picture_is_fetched_under_the_name_that_was_asked_for(port: int) -> None:
    assert get(f"http://pictures.example:{port}/ok") == f"pictures.example:{port}".encode()
    assert get(f"http://pictures.example:{port}/once") == f"pictures.example:{port}".encode()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/to-file", "not fetched from file"),
        ("/to-https", "not fetched from https"),
        ("/again", "redirects more than 3 times"),
        ("/missing", "status 404"),
        ("/large", "larger than 1,000 bytes"),
        ("/bomb", "larger than 1,000 bytes"),
        ("/twice", "sends it packed \\('gzip, gzip'\\)"),
        ("/brotli", "sends it packed"),
        ("/no-gzip", "packed, and damaged"),
    ],
)
def test_what_a_server_may_not_do_is_refused(port: int, path: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        get(f"http://pictures.example:{port}{path}")


def test_bodies_are_asked_for_unpacked_and_one_that_is_packed_is_read(port: int) -> None:
    assert get(f"http://pictures.example:{port}/asked") == b"identity"
    assert get(f"http://pictures.example:{port}/gzip") == b"picture"


def test_a_body_in_very_small_pieces_is_given_up(port: int) -> None:
    large = ImageConfig(url_schemes=("http",))
    with pytest.raises(ImageError, match="very small pieces"):
        asyncio.run(fetch(f"http://pictures.example:{port}/drip", large, to_loopback))


def test_slow_servers_are_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.3)
    with pytest.raises(ImageError, match="could not be read"):
        get(f"http://pictures.example:{port}/slow")


@pytest.mark.parametrize("url", ["http://[", "http:///x.png", "http://127.0.0.1:1/x.png", "http://x:99999/"])
def test_bad_urls_and_dead_servers_are_image_errors(url: str) -> None:
    with pytest.raises(ImageError):
        get(url)


def test_urls_are_refused_unless_the_settings_allow_their_scheme(port: int) -> None:
    for limits in (ImageConfig(), ImageConfig(url_schemes=("https",))):
        with pytest.raises(ImageError, match="allowed schemes"):
            asyncio.run(read_picture(f"http://127.0.0.1:{port}/ok", limits))
    with pytest.raises(ImageError, match="not on the public internet"):
        asyncio.run(read_picture(f"HTTP://127.0.0.1:{port}/ok", HTTP))
