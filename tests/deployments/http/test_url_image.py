"""Pictures by URL: fetched when the settings allow it, never from places that only this machine can reach."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deployments.http import url_image
from deployments.http.input import read_picture
from deployments.http.url_image import fetch, resolve_public
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError

HTTP = ImageConfig(url_schemes=("http",), max_bytes=1000)


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


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::1", "::ffff:127.0.0.1",
     "fe80::1", "fd00::1", "224.0.0.1", "100.64.0.1", "2130706433", "no-such-host.invalid"],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(host: str) -> None:
    with pytest.raises(ImageError):
        asyncio.run(resolve_public(host, 80))


def test_public_addresses_pass() -> None:
    assert asyncio.run(resolve_public("8.8.8.8", 80)) == "8.8.8.8"


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
    ],
)
def test_what_a_server_may_not_do_is_refused(port: int, path: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        get(f"http://pictures.example:{port}{path}")


def test_slow_servers_are_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_image, "TIMEOUT_S", 0.3)
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
