"""Ports: one that is free stays so while others are given theirs."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from valor_ray.doctor import listening
from valor_ray.doctor.listening import free_port, why_not


def test_a_free_port_is_none_that_is_given_to_who_asks_for_any() -> None:
    with ExitStack() as held:
        given = []
        for _ in range(200):
            server = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            given.append(server.getsockname()[1])
        ports = {free_port() for _ in range(50)}
    assert len(ports) > 1 and max(ports) < min(given)
    assert all(why_not("127.0.0.1", port) is None for port in ports)


def test_a_range_that_cannot_be_read_is_the_usual_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(listening, "_RANGE", tmp_path / "none")
    assert 10_000 <= free_port() < 32_768
