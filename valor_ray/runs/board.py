"""Each metrics record as scalars: for TensorBoard always, for other trackers (trackers.py) where they are wanted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import StorageError
from valor_ray.runs.trackers import begun, send, start_tracker

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

FOLDER = "tensorboard"  # in the run folder
_NO_CURVE = ("step", "time")


class Board:
    """Curves of one run, over all its starts.

    Called by the driver, with each record as it is appended to metrics.jsonl; `close` at the end.
    Waits for TensorBoard's file, and as long as a tracker's package retries; a tracker that fails stops no run.
    """

    def __init__(
        self,
        folder: Path,
        purge_step: int | None = None,
        trackers: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """folder: the run's. purge_step: after a resume, the step that is written next; what an earlier run wrote of it
        and of later ones is hidden by TensorBoard. trackers: the project of each wanted one, by its name.

        Raises ConfigError when a tracker cannot be used, StorageError when nothing can be written.
        """
        self._folder, self._say = folder, say
        self._curves = _tensorboard(folder, purge_step)
        self._trackers: dict[str, GeneralTracker] = {}
        self._failing: set[str] = set()  # trackers that the user has been told about
        for name, project in (trackers or {}).items():
            self._trackers[name] = start_tracker(name, project, folder)

    def write(self, record: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl. What is no finite number (null, NaN) has no point in the curve."""
        step, values = record["step"], dict(scalars(record))
        self._curves.log(values, step, walltime=_wall_time(record))
        for name, tracker in self._trackers.items():
            if self._done(name, f"step {step}", partial(send, name, tracker, values, step)):
                self._failing.discard(name)

    def close(self) -> None:
        self._curves.finish()
        for name, tracker in self._trackers.items():
            self._done(name, "the end of the run", tracker.finish)

    def _done(self, name: str, what: str, call: Callable[[], None]) -> bool:
        """Whether a tracker has taken something; training goes on without it, and its user is told once."""
        try:
            call()
        except Exception as error:  # noqa: BLE001  # each has errors of its own; metrics.jsonl has it all
            if name not in self._failing:
                self._failing.add(name)
                self._say(
                    f"{name} has not taken {what} ({type(error).__name__}: {error}); it is in "
                    f"{self._folder}/metrics.jsonl"
                )
            return False
        return True


def scalars(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of every number of a record; those of a nested object are named as in `heads/logic`."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{above}{name}/")
        elif (above or name not in _NO_CURVE) and isinstance(value, int | float) and math.isfinite(value):
            yield f"{above}{name}", float(value)


def _tensorboard(folder: Path, purge_step: int | None) -> GeneralTracker:
    from accelerate.tracking import TensorBoardTracker

    suffix = f".{time.time_ns()}"  # two restarts in one second keep their own file
    try:
        return begun(TensorBoardTracker(FOLDER, str(folder), purge_step=purge_step, filename_suffix=suffix))
    except OSError as error:
        raise StorageError(f"Cannot write {folder / FOLDER} ({error.strerror}).") from error


def _wall_time(record: Mapping[str, Any]) -> float | None:
    when = record.get("time")
    return float(when) if isinstance(when, int | float) else None
