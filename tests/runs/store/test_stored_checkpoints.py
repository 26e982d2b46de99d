"""Checkpoints at a URL: of processes that share no disk, whole or not there, few; another machine goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.errors import CheckpointError
from valor_ray.runs.checkpoints import Keep, write_metrics
from valor_ray.runs.store.checkpoints import StoredCheckpoints, checkpoints_at
from valor_ray.runs.store.objects import ObjectStore
from valor_ray.runs.store.place import local_folder


@pytest.fixture
def url(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: F811
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "staging"))
    return f"{bucket}/run"


def on(url: str, machine: Path) -> StoredCheckpoints:
    return StoredCheckpoints(machine / "checkpoints", ObjectStore(url))


def write(checkpoints: StoredCheckpoints, step: int, **files: str) -> Path:
    written = checkpoints.part / f"checkpoint-{step}"
    for name, text in files.items():
        path = written / name.replace("DIR", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return written


def keep(checkpoints: StoredCheckpoints, step: int, rule: Keep, text: str = "") -> None:
    written = write(checkpoints, step, model=text or str(step))
    write_metrics(written, [{"step": step}])
    checkpoints.bring(written, 0)
    checkpoints.keep(written, step, rule)


def test_another_machine_goes_on_from_the_newest(url: str, tmp_path: Path) -> None:
    first = on(url, tmp_path / "first")
    assert first.newest() == 0
    for step in range(2, 12, 2):
        keep(first, step, Keep(2))
    second = on(url, tmp_path / "second")
    assert second.newest() == 10 and second.has(8) and second.has(2) and not second.has(6)
    assert second.metrics(10) == [{"step": 10}]
    assert (second.checkpoint(10) / "model").read_text() == "10"
    with pytest.raises(CheckpointError):
        second.checkpoint(6)


def test_the_machine_that_kept_it_does_not_download_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = on(url, tmp_path / "first")
    for step in (1, 2):
        keep(first, step, Keep(2))
    monkeypatch.setattr(ObjectStore, "download", lambda *_: pytest.fail("downloaded"))
    assert (first.checkpoint(2) / "model").read_text() == "2"
    assert sorted(path.name for path in first.folder.glob("step-*")) == ["step-000002"]  # one is enough here


def test_two_machines_bring_what_their_processes_have_written(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    first, second = on(url, tmp_path / "first"), on(url, tmp_path / "second")
    mine = write(first, 4, stateDIR__0_0="a", stateDIR_metadata="m") / "state"
    (mine / "__0_0").rename(mine / "__0_0.distcp")
    mine.with_name("rng_state_0.pth").write_text("rng 0")
    theirs = write(second, 4, stateDIR__1_0="b") / "state"
    (theirs / "__1_0").rename(theirs / "__1_0.distcp")
    theirs.with_name("rng_state_1.pth").write_text("rng 1")
    theirs.with_name("config.json").write_text("the first one's to bring")
    second.bring(theirs.parent, 1)
    first.bring(mine.parent, 0)
    assert first.newest() == 0  # nothing is there before the first one says so
    first.keep(mine.parent, 4, Keep(2))
    third = on(url, tmp_path / "third").checkpoint(4)
    names = sorted(str(path.relative_to(third)) for path in third.rglob("*") if path.is_file())
    assert names == [
        "rng_state_0.pth", "rng_state_1.pth",
        "state/__0_0.distcp", "state/__1_0.distcp", "state/_metadata", "whole.json",
    ]  # fmt: skip
    # the first machine lacks the other's part, and sees it
    assert (first.checkpoint(4) / "state" / "__1_0.distcp").read_text() == "b"


def test_a_model_is_there_where_its_files_are(url: str, tmp_path: Path) -> None:
    first = on(url, tmp_path / "first")
    for step, files in ((2, {"stateDIR__0_0": "a"}), (4, {"stateDIR__0_0": "a", "mergedDIRconfig": "{}"})):
        written = write(first, step, **files)
        first.bring(written, 0)
        first.keep(written, step, Keep(2))
    assert [step for step in (2, 3, 4) if first.has_model(step)] == [4]


def test_what_was_set_aside_under_another_name_is_no_checkpoint(url: str, tmp_path: Path) -> None:
    first = on(url, tmp_path / "first")
    keep(first, 2, Keep(1))
    ObjectStore(url).write("checkpoints/step-000004.broken/whole.json", b"{}")
    assert first.newest() == 2
    keep(first, 5, Keep(1))
    assert first.newest() == 5


def test_bytes_bound_what_stays(url: str, tmp_path: Path) -> None:
    first = on(url, tmp_path / "first")
    for step in range(1, 6):
        keep(first, step, Keep(4, most_bytes=250), "x" * 100)
    assert [step for step in range(1, 6) if first.has(step)] == [4, 5]
    keep(first, 6, Keep(4, most_bytes=10), "x" * 100)
    assert [step for step in range(1, 7) if first.has(step)] == [6]  # the newest one, however large


def test_a_path_is_a_folder_and_a_url_a_store(url: str, tmp_path: Path) -> None:
    assert isinstance(checkpoints_at(local_folder(url) / "checkpoints"), StoredCheckpoints)
    assert not isinstance(checkpoints_at(tmp_path / "checkpoints"), StoredCheckpoints)
