"""What every store must give: the same on S3, on a disk, in memory; and words for what a store refuses."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.errors import ConfigError, StorageError
from valor_ray.runs.store.objects import ObjectStore


@pytest.fixture(params=["s3", "memory", "file"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        return ObjectStore(f"{request.getfixturevalue('bucket')}/runs/first")
    place = {"memory": f"memory://{uuid.uuid4().hex}", "file": f"file://{tmp_path}/store"}
    return ObjectStore(place[request.param])


def test_objects_are_written_read_listed_and_removed(objects: ObjectStore, tmp_path: Path) -> None:
    objects.check()
    assert objects.names() == {} and objects.read("a") is None
    objects.write("a", b"one")
    objects.write("a", b"longer")
    objects.write("deep/er/b c", b"")
    assert objects.names() == {"a": 6, "deep/er/b c": 0}
    assert objects.names("deep") == {"deep/er/b c": 0}
    assert objects.read("a") == b"longer"
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    objects.upload(tmp_path / "file", "up/file")
    assert objects.download("up/file", tmp_path / "down" / "file")
    assert (tmp_path / "down" / "file").read_bytes() == b"x" * 100_000
    assert not objects.download("up/none", tmp_path / "none") and not (tmp_path / "none").exists()
    objects.remove(["a", "not there", "up/file"])
    assert objects.names() == {"deep/er/b c": 0}
    assert list(tmp_path.rglob("*.part")) == []


def test_only_one_creates(objects: ObjectStore) -> None:
    assert objects.create("lock/1", b"first")
    assert not objects.create("lock/1", b"second")
    assert objects.read("lock/1") == b"first"


def test_a_url_that_nothing_handles_is_refused() -> None:
    with pytest.raises(ConfigError, match="fsspec knows no nosuch"):
        ObjectStore("nosuch://bucket/run")


def test_a_bucket_that_is_not_there_is_said_at_once(bucket: str) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match="no such bucket"):
        ObjectStore("s3://no-such-bucket-here/run").check()


def test_no_right_to_write_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = ObjectStore(f"file://{tmp_path}/store")

    def refused(*_: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(objects, "_put_beside", refused)
    with pytest.raises(ConfigError, match="no right to do that \\(Access Denied\\)"):
        objects.check()


def test_a_store_that_is_full_is_said_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = ObjectStore(f"file://{tmp_path}/store")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(objects, "_put_beside", full)
    with pytest.raises(StorageError, match="it is full"):
        objects.write("a", b"")


def test_a_store_that_does_not_answer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    objects = ObjectStore(f"file://{tmp_path}/store", say=said.append)
    tries = []
    right = objects._put_beside

    def late(name: str, content: bytes) -> None:
        tries.append(name)
        if len(tries) < 3:
            raise ConnectionResetError("gone away")
        right(name, content)

    monkeypatch.setattr(objects, "_put_beside", late)
    objects.write("a", b"there")
    assert objects.read("a") == b"there" and len(tries) == 3
    assert len(said) == 1 and "does not answer (gone away)" in said[0]


def test_a_store_that_never_answers_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = ObjectStore(f"file://{tmp_path}/store", patience_s=1.0)

    def never(*_: object) -> None:
        raise ConnectionResetError("gone away")

    monkeypatch.setattr(objects, "_put_beside", never)
    with pytest.raises(StorageError, match=r"gone away.*The same command goes on"):
        objects.write("a", b"")
