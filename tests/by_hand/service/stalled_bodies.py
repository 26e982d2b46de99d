"""By hand: callers who stall, slow each other down or send too much, before a real `valor serve`. Prints its figures.

    python -m pytest -m slow -s tests/by_hand/service/stalled_bodies.py

About a minute after the start of the service.
"""

from __future__ import annotations

import base64
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from statistics import median

import httpx
import psutil
import pytest

from valor_ray.images import from_array, to_png
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene

HEAD = b"POST /v1/answer HTTP/1.1\r\nHost: valor\r\nContent-Type: application/json\r\n"
STALLS = {
    "stalled bodies": HEAD + b'Content-Length: 100000\r\n\r\n{"image": "',
    "stalled chunks": HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"ima\r\n',
    "stalled 20 MB bodies": HEAD + b'Content-Length: 20000020\r\n\r\n{"image": "' + b"A" * 20_000_000,
    "stalled headers": HEAD,
}


@contextmanager
def stalled(service: str, sent: bytes, many: int) -> Iterator[list[socket.socket]]:
    """That many connections, each with a request that goes no further."""
    url = httpx.URL(service)
    with ExitStack() as stack:
        sockets = []
        for _ in range(many):
            one = stack.enter_context(socket.create_connection((url.host, url.port or 80), timeout=60))
            one.sendall(sent)
            sockets.append(one)
        yield sockets


def seconds(service: str, seeds: range) -> list[float]:
    """How long each of these questions takes, one after the other."""
    taken = []
    for seed in seeds:
        picture = to_png(from_array(render(sample_scene(seed, "tiles"), size=256).rgb))
        body = {"image": base64.b64encode(picture).decode(), "question": "How many cones are there?"}
        start = time.monotonic()
        assert httpx.post(service + "/v1/answer", json=body, timeout=60).status_code == 200
        taken.append(time.monotonic() - start)
    return taken


def said(name: str, taken: list[float]) -> None:
    print(f"{name:32s} median {median(taken):.2f} s, longest {max(taken):.2f} s of {len(taken)}", flush=True)


def memory_mib(service: str) -> float:
    """Of all processes of the service."""
    port = f"--port {httpx.URL(service).port}"
    server = next(p for p in psutil.process_iter(["cmdline"]) if port in " ".join(p.info["cmdline"] or []))
    family = [server, *server.children(recursive=True)]
    total = 0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 2**20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_others_are_answered_beside_callers_who_stall(service: str) -> None:
    print()
    seconds(service, range(3))
    said("nobody else", seconds(service, range(10)))
    for number, (name, sent) in enumerate(STALLS.items()):
        before = memory_mib(service)
        with stalled(service, sent, 64) as sockets:
            time.sleep(1)
            taken = seconds(service, range(20 + 10 * number, 30 + 10 * number))
            said(f"64 {name}", taken)
            print(f"{'':32s} memory {memory_mib(service) - before:+.0f} MiB", flush=True)
            assert max(taken) < 10
            if "headers" not in name:
                statuses = Counter(one.recv(100)[9:12] for one in sockets)
                print(f"{'':32s} statuses {dict(statuses)}")
                assert statuses == {b"408": 64}
    with stalled(service, STALLS["stalled bodies"], 1000):
        time.sleep(1)
        said("1,000 stalled bodies", seconds(service, range(60, 70)))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_proxies_and_clients_do_works_through_serve(service: str, tmp_path) -> None:
    for path in ("/v1/answer", "/v1/nothing"):
        large = httpx.post(service + path, content=b"x" * 60_000_000, timeout=60)
        print(f"\n60 MB to {path}: {large.status_code}")
        assert large.status_code == (413 if path == "/v1/answer" else 404)
    reply = httpx.post(service + "/v1/vqa", headers={"X-Request-ID": "mine-1"}, json={})
    assert reply.headers.get_list("x-request-id") == ["mine-1"] and reply.status_code == 400
    assert httpx.head(service + "/healthz").status_code == 200
    body = tmp_path / "body.json"
    body.write_text('{"question": "How many?"}')
    curl = [
        "curl",
        "-s",
        "-H",
        "Expect: 100-continue",
        "-H",
        "Content-Type: application/json",
        "-d",
        f"@{body}",
    ]
    told = subprocess.run([*curl, service + "/v1/answer"], capture_output=True, text=True, timeout=60)
    assert '"code":"image"' in told.stdout
