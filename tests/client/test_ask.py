"""The HTTP client of `valor ask` and the command itself, without a server or with a wrong one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from valor_ray.cli import main
from valor_ray.client.ask import Refused, ask, post
from valor_ray.errors import ImageError, ServiceError

REFUSAL = {"error": {"code": "image", "message": "This is not a picture."}}
ANSWER = {
    "answer": 3,
    "plan": "Count.",
    "code": "final_answer = 3",
    "trace": [
        {"tool": "gd_detect", "args": {"prompt": "cube"}, "result": [], "ms": 1.0, "line": 1, "error": None}
    ],
    "error": None,
    "seconds": 0.1,
}
ODD = {  # replies of servers that are not ours
    "/list": b"[1]",
    "/text": b'"x"',
    "/deep": b"[" * 100_000,
    "/number": b'{"answer": ' + b"9" * 5000 + b"}",
    "/nothing": b"",
    "/bytes": b"\xff\xfe",
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, body = {"/v1/answer": (200, json.dumps(ANSWER)), "/refuse": (400, json.dumps(REFUSAL))}.get(
            self.path, (500, "<html>")
        )
        if self.headers.get("authorization") == "Bearer bad":
            status, body = 401, json.dumps({"error": {"code": "unauthorized", "message": "no"}})
        if self.path.removesuffix("/refused") in ODD:
            self.send_response(400 if self.path.endswith("/refused") else 200)
            self.end_headers()
            self.wfile.write(ODD[self.path.removesuffix("/refused")])
            return
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"png")
    return path


def test_answer_comes_back_as_it_was_sent(url: str, picture: Path) -> None:
    assert ask(picture, "How many?", url=url + "/") == ANSWER


def test_refusals_keep_the_servers_code_and_message(url: str) -> None:
    with pytest.raises(Refused, match="not a picture") as caught:
        post(url, "/refuse", {})
    assert caught.value.code == "image"


def test_a_server_that_is_not_ours_is_named(url: str) -> None:
    with pytest.raises(ServiceError, match="is it a valor server"):
        post(url, "/else", {})


@pytest.mark.parametrize("path", ODD)
def test_odd_replies_are_not_taken_for_ours(url: str, path: str) -> None:
    for asked in (path, path + "/refused"):
        with pytest.raises(ServiceError, match="a valor server"):
            post(url, asked, {})


def test_a_file_without_end_is_refused(url: str) -> None:
    with pytest.raises(ImageError, match="more than"):
        ask(Path("/dev/zero"), "How many?", url=url)


def test_missing_file_is_named_before_the_server_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png"):
        ask(tmp_path / "none.png", "How many?", url="http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "file:///etc", "ftp://x", "http://"])
def test_no_server_says_how_to_start_one(url: str, picture: Path) -> None:
    with pytest.raises(ServiceError, match=r"valor serve|--url"):
        ask(picture, "How many?", url=url)


def test_command_prints_the_answer_alone_on_stdout(
    url: str, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", str(picture), "How many?", "--url", url]) == 0
    shown = capsys.readouterr()
    assert shown.out == "3\n" and "gd_detect" in shown.err and "Count." in shown.err
    assert main(["ask", str(picture), "How many?", "--url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ANSWER


def test_command_fails_with_one_line_and_no_traceback(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", str(picture), "How many?", "--url", "http://127.0.0.1:1"]) == 1
    assert main(["ask", str(picture.with_name("none.png")), "How many?"]) == 1
    shown = capsys.readouterr()
    assert "valor serve" in shown.err and "none.png" in shown.err and "Traceback" not in shown.err


def test_token_comes_from_the_named_variable(
    url: str, picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["ask", str(picture), "How many?", "--url", url, "--token-env", "VALOR_TEST_TOKEN"]
    assert main(command) == 2  # the variable is not set
    monkeypatch.setenv("VALOR_TEST_TOKEN", "bad")
    assert main(command) == 1
    monkeypatch.setenv("VALOR_TEST_TOKEN", "good")
    assert main(command) == 0
