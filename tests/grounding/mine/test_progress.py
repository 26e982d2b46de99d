"""The thread that says how far mining is: it goes on speaking when the disk is full, and the driver is told."""

import threading
import time

import pytest

from valor_ray.errors import StorageError
from valor_ray.grounding.mine.outcome import Kind, Outcome
from valor_ray.grounding.mine.progress import Progress


class FullDisk:
    def __init__(self) -> None:
        self.tries = 0

    def append(self, record: object) -> None:
        self.tries += 1
        raise StorageError("No space left on device. Free some.")


def test_a_full_disk_ends_the_block_and_not_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    crashed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", crashed.append)
    disk, said = FullDisk(), list[str]()
    progress = Progress("pictures", 2, disk, said.append, lambda: "", every_s=0.01)
    with pytest.raises(StorageError, match="Free some"), progress:
        progress.count(Outcome(Kind.MINED, {}))
        deadline = time.monotonic() + 10
        while (disk.tries < 2 or not said) and time.monotonic() < deadline:
            time.sleep(0.01)
        before = disk.tries
    assert before >= 2 and said and "1/2 pictures" in said[0] and crashed == []
