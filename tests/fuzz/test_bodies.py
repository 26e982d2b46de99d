"""The front door: whatever bodies and headers hold, a status that OpenAPI names is answered, and never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from http_app import IMAGE, Asker, asking, chat, png
from hypothesis import given
from hypothesis import strategies as st

PATHS = {
    "/v1/answer": {"image": IMAGE, "question": "How many?", "seed": 1},
    "/v1/detect": {"image": IMAGE, "phrases": ["red cube", "sofa"], "box_threshold": 0.5},
    "/v1/depth": {"image": IMAGE, "format": "npy"},
    "/v1/vqa": {"image": IMAGE, "question": "What colour?"},
    "/v1/chat/completions": chat(seed=1, stream=False, stream_options={"include_usage": True}),
}
ODD = st.sampled_from(
    [
        *(None, True, 0, -1, 2**31, 10**300, 0.5, 1e308, "", " ", "\0", "null", "1", ",", "a" * 3000, [], {}),
        *(
            "data:",
            "data:,",
            "data:image/png;base64,",
            "http://127.0.0.1/",
            "file:///etc/passwd",
            "x" * 70_000,
        ),
        *(
            ["user"],
            [{"role": "user", "content": [{"type": "text"}]}],
            {"type": "text"},
            {"include_usage": 1},
        ),
    ]
)
VALUES = ODD | st.text(max_size=20) | st.integers() | st.floats() | st.lists(ODD, max_size=3)
HEADERS = {
    "content-type": [
        *("application/json", "application/json; charset=utf-16", "APPLICATION/JSON ;x", "", ";", "\xff"),
        *(
            "multipart/form-data",
            "multipart/form-data; boundary=b",
            'multipart/form-data; boundary="',
            "text/plain",
        ),
        *("multipart/form-data; boundary=" + "b" * 300, "multipart/form-data; charset=punycode; boundary=b"),
    ],
    "content-length": ["0", "5", "-1", "9" * 40, "", "1, 1", "1e9"],
    "content-encoding": ["gzip", "identity", "", "\xff", "deflate, gzip"],
    "authorization": ["", "Bearer", "Bearer \xff", "Basic \x00".replace("\x00", "=")],
    "expect": ["100-continue", "x"],
    "x-request-id": ["a" * 9000],
    "accept": ["text/event-stream", "\xff"],
}


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    with asking() as asker:
        yield asker


@pytest.fixture(scope="module")
def sent(asker: Asker) -> Any:
    """Sends raw bytes to a path, and checks what comes back."""
    app = asker.app()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def get(path: str) -> Any:
        async with httpx.AsyncClient(transport=transport, base_url="http://valor") as client:
            return (await client.get(path)).json()

    told = asker.run(get("/openapi.json"))["paths"]

    def send(path: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> int:
        async def answered() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://valor") as client:
                request = client.build_request("POST", path, content=body)
                request.headers = httpx.Headers(headers)
                return await asyncio.wait_for(client.send(request), 60)

        response = asker.run(answered())
        assert response.status_code != 500 and str(response.status_code) in told[path]["post"]["responses"]
        if response.status_code != 200:
            assert set(response.json()["error"]) == {"code", "message", "type", "param"}
            assert len(response.content) < 20_000
        return response.status_code

    return send


@st.composite
def mutated(draw: Any, whole: bytes) -> bytes:
    """The bytes with pieces cut out, doubled, or replaced."""
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(whole)))
        end = draw(st.integers(start, min(len(whole), start + 60)))
        piece = draw(
            st.binary(max_size=12)
            | st.sampled_from(
                [b"", whole[start:end] * 2, b'"', b"[" * 500, b"9" * 400, b"\xed\xa0\x80", b"\\ud800"]
            )
            | st.sampled_from(
                [b"\r\n", b"--b", b"--b--", b"NaN", b"-Infinity", b"1e999", b"\xff\xfe", b"\x00"]
            )
        )
        whole = whole[:start] + piece + whole[end:]
    return whole


@given(path=st.sampled_from(sorted(PATHS)), data=st.data())
def test_objects_with_odd_values(sent: Any, path: str, data: st.DataObject) -> None:
    names = st.sampled_from([*PATHS[path], "messages", "model", "n", "extra"]) | st.text(max_size=10)
    fields = PATHS[path] | data.draw(st.dictionaries(names, VALUES, max_size=4))
    sent(path, json.dumps(fields).encode(), [(b"content-type", b"application/json")])


@given(path=st.sampled_from(sorted(PATHS)), data=st.data())
def test_broken_json(sent: Any, path: str, data: st.DataObject) -> None:
    body = data.draw(mutated(json.dumps(PATHS[path]).encode()))
    sent(path, body, [(b"content-type", b"application/json")])


def form(fields: dict[str, Any]) -> bytes:
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (name.encode(), str(value).encode())
        for name, value in fields.items()
        if name != "image"
    ]
    file = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return b"".join(parts) + file + png() + b"\r\n--b--\r\n"


@given(path=st.sampled_from(sorted(PATHS)[:1] + sorted(PATHS)[2:]), data=st.data())
def test_broken_forms(sent: Any, path: str, data: st.DataObject) -> None:
    body = data.draw(mutated(form(PATHS[path])))
    sent(path, body, [(b"content-type", b"multipart/form-data; boundary=b")])


@given(path=st.sampled_from(sorted(PATHS)), data=st.data())
def test_odd_headers(sent: Any, path: str, data: st.DataObject) -> None:
    named = [
        (name.encode(), data.draw(st.sampled_from(values)).encode("latin-1"))
        for name, values in HEADERS.items()
        if data.draw(st.booleans())
    ]
    body = data.draw(st.sampled_from([form(PATHS[path]), json.dumps(PATHS[path]).encode(), b""]))
    sent(path, body, data.draw(st.permutations(named)))
