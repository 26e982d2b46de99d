import asyncio
import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from valor_ray.client.ports import RemoteDepth, RemoteDetector, RemoteVqa, Service
from valor_ray.config.service import ImageConfig
from valor_ray.errors import JudgeError, ServiceError
from valor_ray.images import crop, from_array, load_with_file
from valor_ray.ports import version_of
from valor_ray.records import Detection

PICTURE = from_array(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))


def npy(array: np.ndarray) -> str:
    data = io.BytesIO()
    np.save(data, array)
    return base64.b64encode(data.getvalue()).decode()


def pixels(sent: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(sent))))


class Server(ThreadingHTTPServer):
    """Speaks the protocol of `valor serve`; `replies` by path, `seen` requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, Any], str | None]] = []
        self.replies: dict[str, tuple[int, Any]] = {
            "/v1/detect": (200, {"detections": [{"bbox": [1, 2, 3, 4], "label": "car", "score": 0.5}]}),
            "/v1/depth": (200, {"depth": npy(np.full((4, 6), 2, np.float32)), "focal_px": 7}),
            "/v1/vqa": (200, {"answer": "red"}),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body, self.headers.get("Authorization")))
        status, content = self.server.replies[self.path]
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(url: str, port: str, token: str | None = None) -> Any:
    async def main() -> Any:
        async with Service(url, token) as service:
            if port == "detect":
                return await RemoteDetector(service).detect(PICTURE, ("car", "tv"), box_threshold=0.1)
            if port == "depth":
                return await RemoteDepth(service).depth(PICTURE)
            return await RemoteVqa(service).vqa(PICTURE, "which colour?")

    return asyncio.run(main())


def test_the_ports_work_over_http(server: Server) -> None:
    assert ask(server.url, "detect", "t0ken") == [Detection((1.0, 2.0, 3.0, 4.0), "car", 0.5)]
    depth = ask(server.url, "depth")
    assert depth.depth.dtype == np.float32 and depth.depth.shape == (4, 6) and depth.focal_px == 7.0
    assert ask(server.url, "vqa") == "red"
    (_, detect, token), _, (_, vqa, none) = server.seen
    assert (detect["phrases"], detect["box_threshold"]) == (["car", "tv"], 0.1)
    assert (vqa["question"], token, none) == ("which colour?", "Bearer t0ken", None)
    assert np.array_equal(pixels(vqa["image"]), PICTURE.rgb)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_for_the_internet_sees_neither_picture_nor_token(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(server.url, "vqa", "t0ken") == "red"


def test_a_picture_from_a_file_goes_as_that_file_and_a_part_of_it_as_png(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(PICTURE.rgb).save(path)
    photo = load_with_file(path, ImageConfig())
    part = crop(photo, (1, 1, 5, 3))

    async def main() -> None:
        async with Service(server.url) as service:
            for picture in (photo, part):
                await RemoteVqa(service).vqa(picture, "which colour?")

    asyncio.run(main())
    sent = [body["image"] for _, body, _ in server.seen]
    assert base64.b64decode(sent[0]) == path.read_bytes()
    assert np.array_equal(pixels(sent[1]), part.rgb)


def test_only_the_last_pictures_are_kept() -> None:
    async def main() -> None:
        async with Service("http://127.0.0.1:9") as service:
            shades = [from_array(np.full((2, 2, 3), shade, np.uint8)) for shade in range(20)]
            for picture in shades:
                service.image(shades[0])
                assert np.array_equal(pixels(service.image(picture)), picture.rgb)
            assert len(service._images) == 8
            assert {shades[0].key, shades[19].key} <= set(service._images)

    asyncio.run(main())


def test_boxes_of_another_size_than_the_pictures_are_refused(server: Server) -> None:
    server.replies["/v1/detect"] = (200, {"detections": [], "width": 3, "height": 2})
    with pytest.raises(ServiceError, match=r"boxes of \(2, 3\) .*images\.max_pixels"):
        ask(server.url, "detect")
    server.replies["/v1/detect"] = (200, {"detections": [], "width": 6, "height": 4})
    assert ask(server.url, "detect") == []


def test_detections_say_which_weights_they_are_by_where_the_service_does(server: Server) -> None:
    assert version_of(ask(server.url, "detect")) == ""
    server.replies["/v1/detect"] = (200, {"detections": [], "version": "step-000003"})
    found = ask(server.url, "detect")
    assert found == [] and version_of(found) == "step-000003"


def test_a_refusal_carries_the_servers_words(server: Server) -> None:
    server.replies["/v1/vqa"] = (503, {"error": {"code": "judge", "message": "the judge is down"}})
    with pytest.raises(JudgeError, match="HTTP 503: the judge is down"):
        ask(server.url, "vqa")
    server.replies["/v1/detect"] = (500, b"<html>oh no</html>")
    with pytest.raises(ServiceError, match="HTTP 500: <html>oh no"):
        ask(server.url, "detect")


@pytest.mark.parametrize("port", ["detect", "depth", "vqa"])
def test_another_servers_answer_is_not_taken_for_ours(server: Server, port: str) -> None:
    server.replies[f"/v1/{port}"] = (200, {"hello": 1})
    with pytest.raises((ServiceError, JudgeError), match="another format"):
        ask(server.url, port)


def test_depth_of_another_size_is_refused(server: Server) -> None:
    server.replies["/v1/depth"] = (200, {"depth": npy(np.zeros((2, 2), np.float32)), "focal_px": 7})
    with pytest.raises(ServiceError, match=r"depth of \(2, 2\)"):
        ask(server.url, "depth")


@pytest.mark.parametrize("shape", [10**13, 10**30])
def test_a_depth_map_that_is_not_as_large_as_it_says_is_another_format(server: Server, shape: int) -> None:
    data = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (shape,)}
    np.lib.format.write_array_header_1_0(data, header)
    server.replies["/v1/depth"] = (200, {"depth": base64.b64encode(data.getvalue()).decode(), "focal_px": 7})
    with pytest.raises(ServiceError, match="another format"):
        ask(server.url, "depth")


def test_texts_for_depths_are_another_format(server: Server) -> None:
    server.replies["/v1/depth"] = (200, {"depth": npy(np.full((4, 6), "deep")), "focal_px": 7})
    with pytest.raises(ServiceError, match="another format"):
        ask(server.url, "depth")


def test_no_server_says_what_to_start() -> None:
    with pytest.raises(ServiceError, match=r"No answer from http://127.0.0.1:9 .*Start `valor serve`"):
        ask("http://127.0.0.1:9", "detect")
