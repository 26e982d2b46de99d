"""Waiting for a running service to carry a published detector: what it says on the way, and when it gives up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from valor_ray.client import carried
from valor_ray.client.carried import check_service, wait_carried
from valor_ray.errors import CheckpointError, ConfigError, ServiceError

VERSION = "step-000300"
RUN = Path("/runs/eyes")


class Server(ThreadingHTTPServer):
    """Answers /healthz with one state of its detector after the other; the last for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.states: list[Any] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        states = self.server.states
        state = states.pop(0) if len(states) > 1 else states[0]
        body = state if isinstance(state, str) else json.dumps({"parts": {"detector": state}})
        self.send_response(self.server.status if self.path == "/healthz" else 404)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(carried, "_EVERY_S", 0.02)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def at(version: str | None, behind: int, **more: Any) -> dict[str, Any]:
    live = ["a", "b"]
    published = {
        "run": str(RUN),
        "version": version,
        "live": live,
        "behind": live[:behind],
        "withdrawn": None,
    }
    return {"status": "ok", "version": "any", "published": published | more}


def test_waits_until_every_replica_carries_it_and_says_each_change_once(server: Server) -> None:
    said: list[str] = []
    down, busy = {"status": "unavailable", "reason": "TimeoutError"}, {"status": "ok", "busy": True}
    states = [at(None, 0), at(None, 0), down, busy, at("step-000100", 0), at(VERSION, 2), at(VERSION, 1)]
    server.states = [*states, at(VERSION, 0)]
    assert wait_carried(server.url, RUN, VERSION, 20, said.append) == 2
    assert [line.removeprefix(f"{server.url}: ") for line in said] == [
        "nothing is current there",
        "the detector does not say what it carries",
        "step-000100 is current there",
        "0 of 2 detector replicas carry step-000300",
        "1 of 2 detector replicas carry step-000300",
        "2 of 2 detector replicas carry step-000300",
    ]


def test_a_service_whose_other_parts_are_not_well_counts(server: Server) -> None:
    server.status, server.states = 503, [at(VERSION, 0)]
    wait_carried(server.url, RUN, VERSION, 20, lambda line: None)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (at(VERSION, 1), "1 of 2 detector replicas"),
        (at(VERSION, 0, live=[]), "0 of 0"),
        ("<html>", "not a valor server"),
        ("[]", "not a valor server"),
    ],
)
def test_gives_up_in_time_with_how_far_it_came(server: Server, state: Any, words: str) -> None:
    server.states = [state]
    with pytest.raises(ServiceError, match=f"After 0.1 s .*{words}.*It stays published"):
        wait_carried(server.url, RUN, VERSION, 0.1, lambda line: None)


def test_no_server_is_waited_for_too(server: Server) -> None:
    with pytest.raises(ServiceError, match="no answer"):
        wait_carried("http://127.0.0.1:9", RUN, VERSION, 0.1, lambda line: None)


def test_refused_weights_and_a_service_that_follows_no_run_end_the_wait_at_once(server: Server) -> None:
    refused = {"version": VERSION, "reason": "a: they do not fit"}
    server.states = [at("step-000100", 0, withdrawn=refused)]
    with pytest.raises(CheckpointError, match="step-000300 was refused by a: they do not fit"):
        wait_carried(server.url, RUN, VERSION, 60, lambda line: None)
    server.states = [{"status": "ok", "version": "tabletop:detector"}]
    with pytest.raises(ServiceError, match="follows no run"):
        wait_carried(server.url, RUN, VERSION, 60, lambda line: None)


def test_a_service_that_follows_another_run_ends_the_wait_at_once(server: Server) -> None:
    server.states = [at(VERSION, 0, run="/runs/other")]  # the same name of another run's weights
    with pytest.raises(
        ServiceError, match=r"follows /runs/other, and this run is /runs/eyes.*--follow /runs/eyes"
    ):
        wait_carried(server.url, RUN, VERSION, 60, lambda line: None)


def test_a_run_folder_is_compared_by_where_it_leads(server: Server, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    server.states = [at(VERSION, 0, run=str((tmp_path / "run").resolve()))]
    check_service(server.url, tmp_path / "link")
    assert wait_carried(server.url, tmp_path / "link", VERSION, 60, lambda line: None) == 2


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (at(VERSION, 0, run="/runs/other"), "follows /runs/other"),
        ({"status": "ok", "version": "tabletop:detector"}, "follows no run"),
        ("<html>", "not a valor server"),
    ],
)
def test_a_service_that_could_never_carry_the_run_is_told_before_training(
    server: Server, state: Any, words: str
) -> None:
    server.states = [state]
    with pytest.raises(ConfigError, match=rf"finetune\.service .*{words}.*valor serve --follow /runs/eyes"):
        check_service(server.url, RUN)


def test_a_service_that_follows_the_run_passes_before_anything_is_published(server: Server) -> None:
    silent = ({"status": "unavailable", "reason": "TimeoutError"}, {"status": "ok", "busy": True})
    for state in (at(None, 0), *silent):
        server.states = [state]
        check_service(server.url, RUN)
    with pytest.raises(ConfigError, match="no answer"):
        check_service("http://127.0.0.1:9", RUN)
