"""One writer, without a lock of the kernel and without a common clock."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.errors import ConfigError, StorageError
from valor_ray.runs.store import lease as lease_module
from valor_ray.runs.store.lease import Lease
from valor_ray.runs.store.objects import ObjectStore


@pytest.fixture(params=["s3", "memory", "file"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        return ObjectStore(f"{request.getfixturevalue('bucket')}/run")
    return ObjectStore(
        {"memory": f"memory://{uuid.uuid4().hex}", "file": f"file://{tmp_path}/run"}[request.param]
    )


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every lease is of another machine, so that nobody can look whether its process lives."""
    numbers = iter(range(1000))
    monkeypatch.setattr(lease_module, "_boot", lambda: f"boot {next(numbers)}")
    yield


def held(objects: ObjectStore, **seconds: float) -> Lease:
    lease = Lease(objects, **({"beat_s": 0.1, "stale_s": 1.0} | seconds))
    lease.take("--run", lambda line: None)
    return lease


def test_the_second_is_refused_by_name_and_comes_in_when_the_first_has_ended(objects: ObjectStore) -> None:
    first = held(objects)
    with pytest.raises(ConfigError, match=r"--run .*another run \(process \d+ on "):
        held(objects)
    first.give_back()
    held(objects).give_back()


def test_a_holder_that_beats_is_left_alone_whatever_the_clocks_say(
    objects: ObjectStore, elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = held(objects)
    monkeypatch.setattr(time, "time", lambda: 4e9)  # whoever comes is decades ahead
    with pytest.raises(ConfigError, match="another run"):
        held(objects)
    monkeypatch.setattr(time, "time", lambda: 1.0)
    with pytest.raises(ConfigError, match="another run"):
        held(objects)
    first.give_back()


def test_a_dead_holder_is_followed_and_sees_it_when_it_was_only_away(
    objects: ObjectStore, elsewhere: None
) -> None:
    first = held(objects, beat_s=1000.0)  # suspended
    began = time.monotonic()
    second = held(objects)
    assert 0.9 < time.monotonic() - began < 60
    first._beaten -= 1000.0  # it wakes up
    with pytest.raises(StorageError, match="written by another run now"):
        first.check()
    second.check()
    second.give_back()
    late = held(objects)  # numbers only rise: neither takes itself for the holder
    with pytest.raises(StorageError):
        first.check()
    first.give_back()
    late.check()
    late.give_back()


def test_a_process_of_this_machine_that_has_died_is_not_waited_for(objects: ObjectStore) -> None:
    dead = Lease(objects)
    record = dead._own | {"pid": 2**22 - 1, "beat": 7}
    objects.write("lock/000004", json.dumps(record).encode())
    began = time.monotonic()
    lease = Lease(objects)
    lease.take("--run", lambda line: None)
    assert time.monotonic() - began < 60
    lease.give_back()


def test_of_many_that_come_at_once_one_gets_in(objects: ObjectStore) -> None:
    together = threading.Barrier(8)

    def come(_: int) -> Lease | None:
        lease = Lease(objects)
        together.wait()
        try:
            lease.take("--run", lambda line: None)
        except ConfigError:
            return None
        return lease

    with ThreadPoolExecutor(8) as threads:
        inside = [lease for lease in threads.map(come, range(8)) if lease is not None]
    assert len(inside) == 1
    inside[0].give_back()


def test_a_write_whose_answer_was_lost_is_ours(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    create = ObjectStore.create
    monkeypatch.setattr(ObjectStore, "create", lambda *given: create(*given) and False)
    held(objects).give_back()
