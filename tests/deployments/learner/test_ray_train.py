"""A learner in a thread of the driver: its notes are taken in order, and how it ended is told, whatever fails."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from deployments.learner import ray_train, room
from deployments.learner.ray_train import LearnerTask, RayLearner
from valor_ray.errors import ServiceError, StorageError

Note = Callable[[str, Any], None]


class NotesNearby:
    """The handle of a notes actor, without Ray."""

    def __init__(self) -> None:
        self.queue: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.notes = SimpleNamespace(remote=self._take)

    def _take(self, timeout_s: float) -> list[tuple[str, Any]]:
        """All that is there, as actors.notes.Notes."""
        try:
            news = [self.queue.get(timeout=timeout_s)]
        except queue.Empty:
            return []
        while not self.queue.empty():
            news.append(self.queue.get())
        return news


class Learner:
    """A RayLearner whose processes are a function of this one."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, process: Callable[[Note], None], **take: Callable[[Any], None]
    ) -> None:
        notes = NotesNearby()
        self.over: list[str] = []

        def fit() -> None:
            process(lambda kind, content: notes.queue.put((kind, content)))

        monkeypatch.setattr(ray, "get", lambda value: value)
        monkeypatch.setattr(room, "group_waits", lambda: False)
        monkeypatch.setattr(ray_train, "_trainer", lambda task: SimpleNamespace(fit=fit))
        task = LearnerTask(lambda given: None, {}, 1, 0, Path("unused"))
        self.learner = RayLearner(task, notes, take, self.over.append)  # type: ignore[arg-type]
        self.learner.start()
        self.learner.join(60)


def test_notes_are_taken_in_order_and_the_end_is_what_was_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def process(note: Note) -> None:
        for step in range(3):
            note("step", step)
            note("say", f"step {step}")
        note("end", 3)

    steps: list[int] = []
    lines: list[str] = []
    run = Learner(monkeypatch, process, step=steps.append, say=lines.append)
    assert run.learner.end() == 3 and run.over == ["the learner is done"]
    assert (steps, lines) == ([0, 1, 2], ["step 0", "step 1", "step 2"])


def test_processes_that_fail_for_good_are_said_with_their_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def process(note: Note) -> None:
        raise RuntimeError("Traceback ...\n  in forward\nCUDA out of memory")

    run = Learner(monkeypatch, process)
    assert run.over == ["the learner failed"]
    with pytest.raises(ServiceError, match=r"^The learner failed: CUDA out of memory .*last checkpoint"):
        run.learner.end()


def test_learner_without_an_end_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match="ended without a word"):
        Learner(monkeypatch, lambda note: None).learner.end()


@pytest.mark.parametrize(
    ("raised", "seen", "message"),
    [
        (StorageError("the disk is full"), StorageError, r"^the disk is full$"),
        (OSError("gone"), ServiceError, r"^A step could not be recorded: OSError: gone .*last checkpoint"),
    ],
)
def test_note_that_cannot_be_taken_ends_the_run_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, seen: type[Exception], message: str
) -> None:
    def take(record: int) -> None:
        raise raised

    def process(note: Note) -> None:
        note("step", 1)
        note("end", 1)

    run = Learner(monkeypatch, process, step=take)
    assert "the run's records cannot be written" in run.over
    with pytest.raises(seen, match=message):
        run.learner.end()
