"""Where the records of steps go: metrics.jsonl, each once, and a line for the user every few seconds."""

from __future__ import annotations

from typing import Self

from valor_ray.grounding.finetune.folder import FinetuneFolder
from valor_ray.grounding.finetune.host import Record, Say
from valor_ray.runs.progress import Pace, span
from valor_ray.runs.record_file import RecordFile

_EVERY_S = 5.0


class StepRecords:
    """Takes each step's record once, whatever a learner that starts again gives anew. A context; called in the driver,
    by whoever hears of the step; waits for the write."""

    def __init__(self, folder: FinetuneFolder, done: int, steps: int, say: Say) -> None:
        """done, steps: updates that metrics.jsonl holds, and of the whole run."""
        self._folder, self._newest, self._steps, self._say = folder, done, steps, say
        self._pace = Pace(max(0, steps - done))

    def __enter__(self) -> Self:
        self._file = RecordFile(self._folder.metrics, keep=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def take(self, record: Record) -> None:
        """Raises StorageError."""
        if record["step"] <= self._newest:
            return  # by a learner that went on from its checkpoint: the same figures
        self._newest = record["step"]
        self._file.append(record)
        self._pace.count()
        if self._pace.due(_EVERY_S) or self._newest >= self._steps:
            left = self._pace.left_s()
            self._say(
                f"step {self._newest}/{self._steps}: loss {record['loss']:.3f}, {record['boxes']} boxes, "
                f"{record['pictures_per_s']:.1f} pictures/s" + (f", {span(left)} left" if left else "")
            )
