"""Where the metrics records of steps go: file, curves, and a line for the user with the time that is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from valor_ray.runs.board import Board
from valor_ray.runs.progress import Pace
from valor_ray.runs.record_file import RecordFile

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.reasoning.training.folder import TrainFolder

_MUCH_CUT = 0.05  # share of a step's replies


class StepRecords:
    """Takes the record of each step once, whatever a learner that starts again makes anew.

    A context whose value is called in the driver, with the record of each step as it is made; waits for the writes.
    """

    def __init__(
        self, folder: TrainFolder, config: Config, done: int, steps: int, say: Callable[[str], None]
    ) -> None:
        """done, steps: updates made before this start, and by the end of the run."""
        self._folder, self._config, self._done, self._steps, self._say = folder, config, done, steps, say
        self._newest = done
        self._pace = Pace(steps - done)

    def __enter__(self) -> Callable[[Mapping[str, Any]], None]:
        self._file = RecordFile(self._folder.metrics, keep=True)
        trackers = self._config.grpo.tracker_projects()
        self._board = Board(self._folder.path, self._done + 1, trackers, self._say)
        return self._take

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._board.close()

    def restore(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Records of earlier steps that were lost on their way to the file: nobody is told of them again."""
        for record in records:
            self._file.append(record)
            self._board.write(record)

    def _take(self, record: Mapping[str, Any]) -> None:
        step = record["step"]
        if step <= self._newest:
            return  # made again by a learner that was started again from its checkpoint: the same figures
        self._newest = step
        self._file.append(record)
        self._board.write(record)
        self._pace.count()
        left_s = self._pace.left_s()
        seconds = record["seconds"]
        parts = ", ".join(f"{name} {seconds[name]:.1f}" for name in ("wait", "learn", "publish"))
        self._say(
            f"step {step}/{self._steps}: reward {_text(record['reward'])}, all heads {_text(record['all_heads'])}, "
            f"kl {_text(record['kl'])}, {record['useful_groups']} useful groups{_cut(record.get('cut'))} ({parts} s)"
            + ("" if left_s is None else f", about {left_s / 60:.0f} min left")
        )


def restore_records(folder: TrainFolder, config: Config, done: int) -> None:
    """Law 5 for a driver that died between a checkpoint and the note of its steps: their records, out of it.

    Raises ConfigError, StorageError.
    """
    if lost := folder.lost_metrics(done):
        records = StepRecords(folder, config, done, done, lambda line: None)
        with records:
            records.restore(lost)


def _cut(share: float | None) -> str:
    """Said where it is no small thing."""
    return f", {share:.0%} of the replies cut at the token limit" if share and share >= _MUCH_CUT else ""


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
