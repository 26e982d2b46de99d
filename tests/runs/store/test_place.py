"""A URL has a folder on every machine; what is done there is in the store when the command ends, and only by one."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.errors import CheckpointError, ConfigError
from valor_ray.runs.store.objects import ObjectStore
from valor_ray.runs.store.place import (
    commit,
    local_folder,
    looked_at,
    objects_of,
    present,
    run_path,
    shown,
    stored,
    url_of,
)


@pytest.fixture
def url(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: F811
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "staging"))
    return f"{bucket}/runs/first"


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> Path:
    """The run's folder on a machine that has nothing of it."""
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "another"))
    return local_folder(url)


@pytest.mark.parametrize(
    "place", ["s3://bucket/runs/first", "memory://a/b c/d%2e", "file:///data/runs/x", "s3://b/ümlaut"]
)
def test_a_path_says_which_url_it_is_of(place: str) -> None:
    assert url_of(local_folder(place)) == place
    assert url_of(local_folder(place) / "weights" / "step-000001") == f"{place}/weights/step-000001"
    assert shown(local_folder(place)) == place


def test_a_plain_path_is_a_path(tmp_path: Path) -> None:
    assert run_path(str(tmp_path)) == tmp_path and url_of(tmp_path) is None and objects_of(tmp_path) is None
    with stored(tmp_path / "run", "--run", print), looked_at(tmp_path, "--run") as folder:
        assert folder == tmp_path
    assert list(tmp_path.iterdir()) == []  # nothing is made there
    commit(tmp_path)
    assert present(tmp_path / "none") == tmp_path / "none"


@pytest.mark.parametrize("place", ["nosuch://bucket/run", "s3://", "s3://bucket/../run"])
def test_urls_that_are_none_are_wrong_usage(place: str) -> None:
    with pytest.raises(ArgumentTypeError):
        run_path(place)


def test_another_machine_goes_on(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = local_folder(url)
    with stored(folder, "--run", print):
        (folder / "plan.json").parent.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text("1")
        commit(folder)
        with looked_at(
            elsewhere(monkeypatch, tmp_path, url), "--run"
        ) as seen:  # beside the run, to read only
            assert (seen / "plan.json").read_text() == "1"
        (folder / "report.html").write_text("<p>")
    there = local_folder(url)
    assert not there.exists()
    with stored(there, "--run", print):
        assert (there / "plan.json").read_text() == "1"
        (there / "plan.json").write_text("2")
    assert ObjectStore(url).read("report.html") == b"<p>"
    with looked_at(folder, "--run") as seen:
        assert (seen / "plan.json").read_text() == "2"


def test_what_fails_is_in_the_store_too(url: str) -> None:
    folder = local_folder(url)
    with pytest.raises(RuntimeError), stored(folder, "--run", print):
        folder.mkdir(parents=True)
        (folder / "records.jsonl").write_text("{}\n")
        raise RuntimeError
    with looked_at(folder, "--run") as seen:
        assert (seen / "records.jsonl").read_text() == "{}\n"


def test_a_run_that_another_writes_is_refused_and_left_as_it_is(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = local_folder(url)
    with stored(folder, "--run", print):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "records.jsonl").write_text("{}\n")
        there = elsewhere(monkeypatch, tmp_path, url)
        with (
            pytest.raises(ConfigError, match=r"--run s3://.*/runs/first: another run"),
            stored(there, "--run", print),
        ):
            pytest.fail("entered")
        assert not there.exists()
    assert (folder / "records.jsonl").exists()


def test_a_worker_elsewhere_fetches_the_file_that_it_is_told(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = local_folder(url)
    picture = folder / "data" / "images" / "a 1.png"
    with stored(folder, "--run", print):
        picture.parent.mkdir(parents=True)
        picture.write_bytes(b"picture")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert present(picture).read_bytes() == b"picture"
    with pytest.raises(CheckpointError, match=r"b.png is not there"):
        present(picture.with_name("b.png"))
