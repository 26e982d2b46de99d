"""A folder in a store is there whole or not at all, once a machine, and is what was written."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.errors import CheckpointError
from valor_ray.runs.store import folders
from valor_ray.runs.store.objects import ObjectStore


@pytest.fixture(params=["s3", "memory"])
def objects(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "s3":
        return ObjectStore(f"{request.getfixturevalue('bucket')}/run")
    return ObjectStore(f"memory://{uuid.uuid4().hex}")


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_it_is_there_when_it_is_committed_and_comes_back_as_it_was(
    objects: ObjectStore, tmp_path: Path
) -> None:
    folder = written(tmp_path / "here", model="weights", deep__er__config="{}")
    folders.bring(objects, "weights/one", folder)
    assert folders.whole(objects, "weights/one") is None and folders.whole_names(objects, "weights") == []
    with pytest.raises(CheckpointError, match=r"weights/one is not there, or was not written to its end"):
        folders.fetched(objects, "weights/one", tmp_path / "there")
    folders.commit(objects, "weights/one")
    assert folders.whole_names(objects, "weights") == ["one"]
    there = folders.fetched(objects, "weights/one", tmp_path / "there")
    assert (there / "model").read_text() == "weights" and (there / "deep/er/config").read_text() == "{}"
    only = folders.fetched(objects, "weights/one", tmp_path / "some", "deep/er")
    assert only == tmp_path / "some/deep/er" and not (tmp_path / "some/model").exists()
    folders.remove(objects, "weights/one")
    assert objects.names() == {}


def test_a_machine_downloads_it_once_however_many_ask(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.bring(objects, "one", written(tmp_path / "here", model="weights"))
    folders.commit(objects, "one")
    downloads: list[str] = []
    download = ObjectStore.download

    def counted(self: ObjectStore, name: str, path: Path) -> bool:
        downloads.append(name)
        threading.Event().wait(0.05)
        return download(self, name, path)

    monkeypatch.setattr(ObjectStore, "download", counted)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: folders.fetched(objects, "one", tmp_path / "there"), range(6)))
    assert downloads == ["one/model"]
    (tmp_path / "there" / "model").unlink()  # somebody has made room
    folders.fetched(objects, "one", tmp_path / "there")
    assert len(downloads) == 2 and (tmp_path / "there" / "model").read_text() == "weights"


def test_one_that_was_written_anew_takes_the_place_of_the_old_one_here(
    objects: ObjectStore, tmp_path: Path
) -> None:
    for text in ("old", "new"):
        folders.bring(objects, "one", written(tmp_path / text, model=text))
        folders.commit(objects, "one")
        assert (folders.fetched(objects, "one", tmp_path / "there") / "model").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir() if "part" in path.name) == []


def test_what_is_not_as_it_was_written_is_named(objects: ObjectStore, tmp_path: Path) -> None:
    folders.bring(objects, "one", written(tmp_path / "here", model="weights"))
    folders.commit(objects, "one")
    objects.write("one/model", b"weighty")
    with pytest.raises(CheckpointError, match=r"one/model is not what whole.json says"):
        folders.fetched(objects, "one", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_each_process_brings_its_own_and_an_older_attempt_of_more_leaves_nothing(
    objects: ObjectStore, tmp_path: Path
) -> None:
    for rank in range(3):  # an attempt of three that was cut
        folders.bring(objects, "one", written(tmp_path / f"cut{rank}", **{f"part{rank}": "cut"}), rank)
    for rank in range(2):
        folders.bring(
            objects, "one", written(tmp_path / f"node{rank}", **{f"part{rank}": f"of {rank}"}), rank
        )
    assert set(folders.commit(objects, "one", 2)) == {"part0", "part1"}
    there = folders.fetched(objects, "one", tmp_path / "there")
    assert sorted(path.name for path in there.iterdir()) == ["part0", "part1", "whole.json"]
