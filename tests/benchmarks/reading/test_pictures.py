"""Pictures that rows name by URL, over real HTTP: fetched once, checked, or an error of their question."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from benchmark_sets import drawn

from valor_ray.benchmarks.reading.pictures import TRIES, Pictures
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError


@dataclass
class Host:
    url: str = ""
    asked: list[str] = field(default_factory=list)
    failures: int = 0  # 503 so many times first


@pytest.fixture
def host() -> Iterator[Host]:
    said = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.asked.append(self.path)
            status, body = 200, drawn(5)
            if self.path == "/page.jpg":
                body = b"<html>moved</html>"
            if self.path == "/none.jpg":
                status, body = 404, b""
            if said.failures:
                said.failures -= 1
                status, body = 503, b""
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield said
    server.shutdown()
    server.server_close()


def pictures(folder: Path) -> Pictures:
    return Pictures(folder / "kept", ImageConfig(), pause_s=0.0)


def test_picture_is_fetched_once_for_all_runs(host: Host, tmp_path: Path) -> None:
    for _ in range(2):
        kept = pictures(tmp_path)
        image = kept.keep(f"{host.url}/a.jpg", [])
        path = kept.local(image)
        assert path == kept.local(image) and path.read_bytes() == drawn(5)
    assert host.asked == ["/a.jpg"]


def test_another_link_is_tried_where_the_first_has_nothing(host: Host, tmp_path: Path) -> None:
    kept = pictures(tmp_path)
    image = kept.keep("a.jpg", [tmp_path], [f"{host.url}/none.jpg", f"{host.url}/a.jpg"])
    assert kept.local(image).read_bytes() == drawn(5)
    assert host.asked == ["/none.jpg", "/a.jpg"]  # a status 404 is not tried again


def test_a_host_that_stumbles_is_asked_again(host: Host, tmp_path: Path) -> None:
    host.failures = TRIES - 1
    kept = pictures(tmp_path)
    assert kept.local(kept.keep(f"{host.url}/a.jpg", [])).exists()


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("none.jpg", None, "status 404"),
        ("page.jpg", None, "not a picture"),
        ("a.jpg", (64, 49), "it is 64x48 px and the row says 64x49"),
    ],
)
def test_what_cannot_be_had_is_an_error_that_says_why_and_leaves_nothing(
    host: Host, tmp_path: Path, name: str, size: tuple[int, int] | None, words: str
) -> None:
    kept = pictures(tmp_path)
    image = kept.keep("a.jpg", [tmp_path], [f"{host.url}/{name}"], size)
    with pytest.raises(ImageError, match=words) as error:
        kept.local(image)
    assert "--data" in str(error.value) and not (tmp_path / "kept").exists()


def test_no_server_is_an_error_of_the_picture(tmp_path: Path) -> None:
    kept = pictures(tmp_path)
    with pytest.raises(ImageError, match="could not be had"):
        kept.local(kept.keep("http://127.0.0.1:9/a.jpg", []))


def test_a_file_beside_the_rows_wins_over_links_with_or_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").write_bytes(drawn(1))
    kept, beside = pictures(tmp_path), [tmp_path, tmp_path / "images"]
    for name in ("1.jpg", "images/1.jpg", "VG_100K/1.jpg"):
        assert kept.keep(name, beside, ["http://127.0.0.1:9/1.jpg"]) == str(tmp_path / "images" / "1.jpg")


@pytest.mark.parametrize(
    "name", ["a" * 300 + ".png", "a\0.png", "x" * 5000, "", None, {"bytes": None, "path": None}]
)
def test_what_is_no_name_of_a_file_is_refused(tmp_path: Path, name: object) -> None:
    with pytest.raises(ValueError, match="picture"):
        pictures(tmp_path).keep(name, [tmp_path])
