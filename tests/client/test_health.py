"""Which weights a service says it has; one that says nothing costs nobody an answer."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from valor_ray.client.health import versions


@contextmanager
def serving(status: int, body: str) -> Iterator[str]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


BOTH = {"policy": {"version": "tabletop:policy"}, "detector": {"version": "step-000600"}, "depth": {}}


@pytest.mark.parametrize(
    ("status", "parts", "found"),
    [
        (200, BOTH, {"policy": "tabletop:policy", "detector": "step-000600"}),
        (503, BOTH | {"policy": {"status": "unavailable"}}, {"detector": "step-000600"}),
        (200, {"policy": {"version": 7}, "detector": None}, {}),
        (200, [1], {}),
    ],
)
def test_the_versions_of_the_parts_that_say_one(status: int, parts: Any, found: dict[str, str]) -> None:
    with serving(status, json.dumps({"parts": parts})) as url:
        assert versions(url, 20) == found


@pytest.mark.parametrize("body", ["<html>", "[]", "{}"])
def test_what_is_no_valor_server_has_none(body: str) -> None:
    with serving(200, body) as url:
        assert versions(url, 20) == {}


def test_nobody_there_has_none() -> None:
    assert versions("http://127.0.0.1:9", 1) == {}
    assert versions("no url", 1) == {}
