"""The store holds states that the folder really had; whoever goes on from them gets them bit for bit."""

from __future__ import annotations

import itertools
import json
import random
import threading
import uuid
from pathlib import Path

import pytest
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.errors import CheckpointError, StorageError
from valor_ray.runs.store.lease import Lease
from valor_ray.runs.store.mirror import MANIFEST, Mirror, read_manifest
from valor_ray.runs.store.objects import ObjectStore


@pytest.fixture(params=["s3", "memory"])
def objects(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "s3":
        return ObjectStore(f"{request.getfixturevalue('bucket')}/run")
    return ObjectStore(f"memory://{uuid.uuid4().hex}")


class Free(Lease):
    """That nobody disputes."""

    def check(self) -> None:
        pass


def writer(objects: ObjectStore, folder: Path) -> Mirror:
    folder.mkdir(exist_ok=True)
    return Mirror(folder, objects, Free(objects))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_back_bit_for_bit_on_another_machine(objects: ObjectStore, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    mirror = writer(objects, here)
    assert not mirror.pull()
    (here / "data").mkdir()
    (here / "data" / "scene one.png").write_bytes(b"\x00\xff" * 500)
    (here / "rollouts.jsonl").write_bytes(b'{"a":1}\n')
    (here / "empty.jsonl").touch()
    (here / "checkpoints" / "step-000001").mkdir(parents=True)
    mirror.push()
    with (here / "rollouts.jsonl").open("ab") as file:
        file.write(b'{"a":2}\n')
    (here / "config.yaml").write_text("x: 1\n")
    mirror.push()
    (here / "config.yaml").write_text("x: 2\n")
    mirror.close()
    assert objects.read("config.yaml") == b"x: 2\n"
    assert len(read_manifest(objects)["rollouts.jsonl"]) == 2
    assert writer(objects, there).pull()
    assert files(there) == files(here) and (there / "checkpoints" / "step-000001").is_dir()
    assert set(objects.names("parts")) == {
        part.name for parts in read_manifest(objects).values() for part in parts
    }


def test_what_is_here_beyond_the_store_goes_and_what_is_there_is_not_fetched_again(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    mirror = writer(objects, here)
    (here / "metrics.jsonl").write_bytes(b"1\n2\n")
    (here / "big").write_bytes(b"x" * 1000)
    mirror.push()
    with (here / "metrics.jsonl").open("ab") as file:
        file.write(b"3\n")  # a kill came before the next push
    (here / "late").write_bytes(b"late")
    (here / "big.part").write_bytes(b"half")
    fetched: list[str] = []
    download = ObjectStore.download

    def noted(self: ObjectStore, name: str, path: Path) -> bool:
        fetched.append(name)
        return download(self, name, path)

    monkeypatch.setattr(ObjectStore, "download", noted)
    writer(objects, here).pull()
    assert files(here) == {"metrics.jsonl": b"1\n2\n", "big": b"x" * 1000, "big.part": b"half"}
    assert len(fetched) == 1 and "metrics" in fetched[0]


def test_a_file_that_was_cut_and_grew_beyond_its_old_end_is_sent_anew(
    objects: ObjectStore, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    mirror = writer(objects, here)
    (here / "r.jsonl").write_bytes(b"one\ntwo\nthr")
    mirror.push()
    with (here / "r.jsonl").open("rb+") as file:  # as cut_torn_line does
        file.truncate(8)
        file.seek(8)
        file.write(b"three\nfour\n")
    mirror.push()
    writer(objects, tmp_path / "there").pull()
    assert (tmp_path / "there" / "r.jsonl").read_bytes() == b"one\ntwo\nthree\nfour\n"


def test_a_growing_file_that_is_large_is_sent_in_pieces_of_one_moment(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valor_ray.runs.store.mirror._PIECE", 100)
    here = tmp_path / "here"
    mirror = writer(objects, here)
    (here / "large").write_bytes(b"y" * 1000)  # uploaded whole
    (here / "r.jsonl").write_bytes(b"".join(b"%d\n" % n for n in range(150)))
    write = ObjectStore.write

    def growing(self: ObjectStore, name: str, content: bytes) -> None:
        with (here / "r.jsonl").open("ab") as file:  # somebody records meanwhile
            file.write(b"more\n")
        write(self, name, content)

    monkeypatch.setattr(ObjectStore, "write", growing)
    mirror.push()
    monkeypatch.setattr(ObjectStore, "write", write)
    assert len(read_manifest(objects)["r.jsonl"]) >= 4
    writer(objects, tmp_path / "early").pull()
    assert (here / "r.jsonl").read_bytes().startswith((tmp_path / "early" / "r.jsonl").read_bytes())
    mirror.push()
    writer(objects, tmp_path / "there").pull()
    assert files(tmp_path / "there") == files(here)


def test_many_small_parts_become_few(objects: ObjectStore, tmp_path: Path) -> None:
    here = tmp_path / "here"
    mirror = writer(objects, here)
    for number in range(60):
        with (here / "r.jsonl").open("ab") as file:
            file.write(b"%d\n" % number)
        mirror.push()
    assert len(read_manifest(objects)["r.jsonl"]) <= 17
    writer(objects, tmp_path / "there").pull()
    assert (tmp_path / "there" / "r.jsonl").read_bytes() == (here / "r.jsonl").read_bytes()


def test_a_push_that_is_cut_anywhere_leaves_the_state_before(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    mirror = writer(objects, here)
    (here / "r.jsonl").write_bytes(b"1\n")
    (here / "state").write_bytes(b"1")
    mirror.push()
    whole = files(here)
    (here / "r.jsonl").write_bytes(b"1\n2\n")
    (here / "state").write_bytes(b"2")
    write = ObjectStore.write
    for cut in range(3):
        left = [cut]

        def dying(self: ObjectStore, name: str, content: bytes, left: list[int] = left) -> None:
            if not left[0]:
                raise StorageError("killed")
            left[0] -= 1
            write(self, name, content)

        monkeypatch.setattr(ObjectStore, "write", dying)
        with pytest.raises(StorageError):
            mirror.push()
        monkeypatch.setattr(ObjectStore, "write", write)
        reader = Mirror(tmp_path / f"there{cut}", objects, None)
        (tmp_path / f"there{cut}").mkdir()
        reader.pull()
        assert files(tmp_path / f"there{cut}") == whole
    again = writer(objects, tmp_path / "again")
    again.pull()
    named = {part.name for parts in read_manifest(objects).values() for part in parts}
    assert set(objects.names("parts")) == named  # what the cut pushes left is gone


def test_every_state_in_the_store_is_one_that_a_kill_could_have_left(
    objects: ObjectStore, tmp_path: Path
) -> None:
    """A line of `first` is always written before that of `second` which needs it, while a thread pushes."""
    here = tmp_path / "here"
    mirror = writer(objects, here)
    enough = threading.Event()

    def work() -> None:
        for number in itertools.count():
            for name in ("z-first.jsonl", "a-second.jsonl"):
                with (here / name).open("ab") as file:
                    file.write(json.dumps({"n": number}).encode() + b"\n")
            if random.random() < 0.05:
                threading.Event().wait(0.03)
            if enough.is_set():
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for look in range(8):  # however long a push takes here
            mirror.push()
            copy = tmp_path / f"copy{look}"
            copy.mkdir()
            Mirror(copy, objects, None).pull()
            counts = (
                [len((copy / name).read_bytes().splitlines()) for name in ("z-first.jsonl", "a-second.jsonl")]
                if (copy / "a-second.jsonl").exists()
                else [1, 0]
            )
            assert counts[0] >= counts[1]
    finally:
        enough.set()
        thread.join()
    assert counts[1] > 0


def test_an_object_that_somebody_changed_is_named(objects: ObjectStore, tmp_path: Path) -> None:
    here = tmp_path / "here"
    mirror = writer(objects, here)
    (here / "plan.json").write_bytes(b"{}")
    mirror.push()
    (part,) = read_manifest(objects)["plan.json"]
    objects.write(part.name, b"[]")
    with pytest.raises(CheckpointError, match=r"plan.json is not what manifest.json says"):
        writer(objects, tmp_path / "there").pull()
    objects.write(MANIFEST, b"nonsense")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_manifest(objects)
