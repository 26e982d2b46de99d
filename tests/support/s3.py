"""An S3 server of this machine (moto), whose buckets live as long as it does."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """What the environment of a process must have to reach it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    one = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    one.start()
    try:
        yield environment("http://{}:{}".format(*one.get_host_and_port()))
    finally:
        one.stop()


def environment(address: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }


def new_bucket() -> str:
    """Its URL, on the server that the environment names."""
    import fsspec

    files = fsspec.filesystem("s3")
    files.clear_instance_cache()
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}"


@contextmanager
def own_bucket() -> Iterator[str]:
    """For a script: this process and those that it starts can reach it."""
    with server() as variables:
        os.environ.update(variables)
        yield new_bucket()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    with server() as variables:
        yield variables


@pytest.fixture
def bucket(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a new bucket; this process and those that it starts can reach it."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    return new_bucket()
