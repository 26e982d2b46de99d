"""Publication by files: whole or not at all, few, and announced by the first process alone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from valor_ray.errors import CheckpointError, PolicyError
from valor_ray.runs import weight_channel
from valor_ray.runs.publications import Publication
from valor_ray.runs.record_file import replace_text
from valor_ray.runs.weight_channel import (
    FileChannel,
    Probe,
    Published,
    PublishedFile,
    publish_by_file,
    to_nobody,
)

PROBE: Probe = [([1, 2], [3])]


class Written:
    """Weights whose folder names the step; may die while they are written."""

    def __init__(self, text: str, dies: bool = False) -> None:
        self.text, self.dies = text, dies

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "model").write_text(self.text)
        if self.dies:
            raise KeyboardInterrupt


class Elsewhere:
    """Weights in a process that is not the first: it helps to gather them and writes nothing."""

    def __init__(self) -> None:
        self.gathered = 0

    def save(self, folder: Path) -> None:
        self.gathered += 1


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_who_reads_a_version_is_not_disturbed_when_it_is_published_once_more(tmp_path: Path) -> None:
    first = tmp_path / "step-000004"
    seen: list[str] = []

    def announce(step: int, folder: Path, probe: Probe) -> Published:
        seen.append(folder.name)
        assert (first / "model").read_text() == "4"  # until all carry the new one
        return Published(1, [])

    FileChannel(tmp_path, 3, to_nobody, first=True).publish(4, Written("4"), PROBE)
    for _ in range(2):
        first.exists() or first.mkdir()
        (first / "model").write_text("4")
        FileChannel(tmp_path, 3, announce, first=True).publish(4, Written("again"), PROBE)
    assert seen == ["step-000004-2", "step-000004-3"] and names(tmp_path) == ["step-000004-3"]


def test_weights_are_announced_when_they_are_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, str, str, Probe]] = []

    def announce(step: int, folder: Path, probe: Probe) -> Published:
        seen.append((step, folder.name, (folder / "model").read_text(), probe))
        return Published(2, [[[-0.5]], [[-0.5]]])

    answer = FileChannel(tmp_path, 2, announce, first=True).publish(3, Written("three"), PROBE)
    assert answer == Published(2, [[[-0.5]], [[-0.5]]])
    assert seen == [(3, "step-000003", "three", PROBE)] and names(tmp_path) == ["step-000003"]


def test_other_processes_only_help_to_gather(tmp_path: Path) -> None:
    def announce(step: int, folder: Path, probe: Probe) -> Published:
        raise AssertionError

    weights = Elsewhere()
    assert FileChannel(tmp_path, 2, announce, first=False).publish(3, weights, PROBE) is None
    assert weights.gathered == 1 and names(tmp_path) == []


def test_kill_while_writing_leaves_no_version_and_the_next_start_makes_it(tmp_path: Path) -> None:
    channel = FileChannel(tmp_path, 2, to_nobody, first=True)
    with pytest.raises(KeyboardInterrupt):
        channel.publish(1, Written("torn", dies=True), PROBE)
    assert names(tmp_path) == ["step-000001.part"]
    assert channel.publish(1, Written("whole"), PROBE) == Published(0, [])
    assert names(tmp_path) == ["step-000001"]
    assert (tmp_path / "step-000001" / "model").read_text() == "whole"


def test_newest_few_stay_and_those_of_a_dead_learner_go(tmp_path: Path) -> None:
    channel = FileChannel(tmp_path, 3, to_nobody, first=True)
    for step in range(6):
        channel.publish(step, Written(str(step)), PROBE)
    assert names(tmp_path) == ["step-000003", "step-000004", "step-000005"]
    channel.publish(4, Written("again"), PROBE)  # of a learner that begins again at 4
    assert names(tmp_path) == ["step-000003", "step-000004-2"]
    assert (tmp_path / "step-000004-2" / "model").read_text() == "again"


def test_version_that_no_replica_takes_is_an_error_and_forgets_nothing(tmp_path: Path) -> None:
    def refuse(step: int, folder: Path, probe: Probe) -> Published:
        raise PolicyError("not every replica carries it")

    FileChannel(tmp_path, 1, to_nobody, first=True).publish(1, Written("one"), PROBE)
    with pytest.raises(PolicyError):
        FileChannel(tmp_path, 1, refuse, first=True).publish(2, Written("two"), PROBE)
    assert names(tmp_path) == ["step-000001", "step-000002"]


def test_published_file_tells_others_of_each_publication_once(tmp_path: Path) -> None:
    file = PublishedFile(tmp_path)
    assert not file.changed() and file.read() is None
    for number, version in enumerate(("step-000001", "step-000002", "step-000002"), start=1):
        assert publish_by_file(tmp_path, version, tmp_path / version) == 0
        assert file.changed()
        assert file.read() == Publication(number, version, str(tmp_path / version)) and not file.changed()


def test_published_file_that_its_own_process_has_written_is_no_news(tmp_path: Path) -> None:
    file = PublishedFile(tmp_path)
    file.write(Publication(1, "step-000001", "/w", (((1, 2), (3,)),)))
    assert not file.changed()
    file.write(None)
    assert not file.changed() and file.read() is None
    file.path.unlink()
    assert not file.changed()


def test_withdrawing_tells_others_that_nothing_is_published_and_writes_nothing_where_nothing_was(
    tmp_path: Path,
) -> None:
    own, other = PublishedFile(tmp_path), PublishedFile(tmp_path)
    own.withdraw()
    assert not own.path.exists()
    publish_by_file(tmp_path, "step-000001", tmp_path / "step-000001")
    assert other.read() is not None
    own.withdraw()
    assert other.changed() and other.read() is None
    own.withdraw()
    assert not other.changed()


def test_what_another_thread_is_writing_is_no_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for another process's, it would be published once more, and what was withdrawn be forgotten."""
    there, looked = threading.Event(), threading.Event()

    def slow(path: Path, text: str) -> None:
        replace_text(path, text)
        there.set()
        looked.wait(0.3)

    monkeypatch.setattr(weight_channel, "replace_text", slow)
    file = PublishedFile(tmp_path)
    writer = threading.Thread(target=file.write, args=(Publication(1, "step-000001", "/w"),))
    writer.start()
    assert there.wait(60) and not file.changed()
    looked.set()
    writer.join()
    assert not file.changed()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"number": 1, "version": "v"}'])
def test_published_file_of_another_content_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "published.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"published\.json does not say what is published"):
        PublishedFile(tmp_path).read()
    with pytest.raises(CheckpointError):
        publish_by_file(tmp_path, "step-000001", tmp_path)
