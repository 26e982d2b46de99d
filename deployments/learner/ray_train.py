"""A learner on Ray Train for as long as the driver does something else: rollouts, or nothing.

Ray Train runs in a thread of the driver; what its processes note (lines for the user, metrics records, the end) comes
back through an actor and is taken by a second thread. What is learnt is the caller's: a function that each process
runs, and what the kinds of notes mean.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.failures import LOGS, last_line
from deployments.learner.room import LEARNER_CPUS, Group, RoomWatch
from deployments.ray_data import arrow_filesystem
from deployments.running.threads import RayEnds, ray_calls
from valor_ray.errors import ServiceError, ValorError
from valor_ray.runs.store.place import url_of

if TYPE_CHECKING:
    from ray.actor import ActorHandle

MOST_FAILURES = 3  # of the learner's processes, each begun again from the newest checkpoint
_NO_ROOM = 30  # times that Ray Train waits a minute for room for the learner: a node may be on its way
_POLL_S, _LAST_POLL_S = 1.0, 0.1  # for notes; the last ones are there when the learner is done
_AGAIN = "The same command goes on from the last checkpoint."


@dataclass(frozen=True)
class LearnerTask:
    """What Ray Train is to run."""

    process: Callable[[dict[str, Any]], None]  # what each process runs, given the next
    given: Mapping[str, Any]  # goes to other nodes: no locks, no open files
    workers: int  # processes
    num_gpus: float  # of each
    storage: Path  # Ray Train's own files
    gloo: bool = False  # its processes speak gloo, although they have GPUs
    here: bool = False  # its processes run on the driver's machine: they share files with it

    @property
    def group(self) -> Group:
        return Group(self.workers, self.num_gpus)


class RayLearner:
    """A LearnerTask under way: `start` it, `join` it, and ask `end` how it went.

    The driver makes one a run. `join` waits for the learner's processes, which wait for whatever their task waits for;
    `over` is told, from a thread, when nothing more will be learnt, so that nobody goes on working for the learner.
    """

    def __init__(
        self,
        task: LearnerTask,
        notes: ActorHandle,
        take: Mapping[str, Callable[[Any], None]],
        over: Callable[[str], None],
    ) -> None:
        """notes: an actor with the methods of actors.notes.Notes. take: what to do with each kind of note, besides
        "end", whose content `end` returns."""
        self._task, self._notes, self._tell_over = task, notes, over
        self._take = {**take, "end": self._ended}
        self._end: Any = None
        self._error: Exception | None = None  # the first one
        self._fitting = threading.Thread(target=self._fit, name="ray-train", daemon=True)
        self._listening = threading.Thread(target=self._listen, name="learner-notes", daemon=True)
        self._done = threading.Event()

    def start(self) -> None:
        ray_calls.keeps(self._fitting)
        self._listening.start()
        self._fitting.start()

    def join(self, timeout_s: float | None = None) -> None:
        """timeout_s: a learner that waits for room on the cluster does not hear that the run has ended."""
        self._fitting.join(timeout_s)
        self._done.set()
        self._listening.join(timeout_s)

    def end(self) -> Any:
        """What the first process noted as its end. Raises ServiceError when the processes have failed for good, and
        the ValorError of a note that could not be taken."""
        if isinstance(self._error, ValorError):
            raise self._error
        if self._error is not None:
            raise ServiceError(
                f"The learner failed: {last_line(self._error)} Logs: {LOGS}/train. {_AGAIN}"
            ) from self._error
        if self._end is None:
            raise ServiceError(f"The learner ended without a word. Logs: {LOGS}/train. {_AGAIN}")
        return self._end

    def _fit(self) -> None:
        reason = "the learner failed"
        try:
            _trainer(self._task).fit()
            reason = "the learner is done"
        except Exception as error:  # noqa: BLE001  # told by end(): a thread has nobody to raise to
            self._error = self._error or error
        self._tell(reason)

    def _listen(self) -> None:
        try:
            self._take_notes()
        except RayEnds:
            pass
        except Exception as error:  # noqa: BLE001  # a full disk, a board that fails: the run ends, and end() says why
            self._error = error if isinstance(error, ValorError) else _unrecorded(error)
            self._tell("the run's records cannot be written")

    def _tell(self, reason: str) -> None:
        with suppress(RayEnds), ray_calls.call():  # nobody works for the learner any more
            self._tell_over(reason)

    def _take_notes(self) -> None:
        import ray

        room = RoomWatch(self._task.group, self._take.get("say", lambda line: None))
        while True:
            done = self._done.is_set()
            with ray_calls.call():
                if not done:
                    room.look(time.monotonic())
                for kind, content in ray.get(self._notes.notes.remote(_LAST_POLL_S if done else _POLL_S)):
                    self._take[kind](content)
            if done:
                return

    def _ended(self, end: Any) -> None:
        self._end = end


def noting(notes: ActorHandle) -> Callable[[str, Any], None]:
    """For a process of Ray Train: how to note something for the driver. Only the first process is heard."""
    import ray
    from ray.train import get_context

    first = get_context().get_world_rank() == 0

    def note(kind: str, content: Any) -> None:
        if first:
            ray.get(notes.note.remote(kind, content))

    return note


def _trainer(task: LearnerTask) -> Any:
    import ray.util
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    storage, files = _storage(task.storage)
    resources = {"CPU": LEARNER_CPUS} | ({"GPU": task.num_gpus} if task.num_gpus else {})
    if task.here:
        resources[f"node:{ray.util.get_node_ip_address()}"] = (
            0.001  # Ray's own resource, of which a node has 1
        )
    return TorchTrainer(
        task.process,
        train_loop_config=dict(task.given),
        scaling_config=ScalingConfig(
            num_workers=task.workers,
            use_gpu=task.num_gpus > 0,
            resources_per_worker=resources,
            placement_strategy=task.group.strategy(),
        ),
        torch_config=TorchConfig(backend="gloo") if task.gloo else None,
        run_config=RunConfig(
            name="learner",
            storage_path=storage,
            storage_filesystem=files,
            failure_config=FailureConfig(max_failures=MOST_FAILURES, controller_failure_limit=_NO_ROOM),
        ),
    )


def _storage(folder: Path) -> tuple[str, Any]:
    """Where Ray Train keeps its own files, and the filesystem that this is on (None: all machines' disk)."""
    url = url_of(folder)
    if url is None:
        return str(folder), None
    return arrow_filesystem(url)


def _unrecorded(error: Exception) -> ServiceError:
    return ServiceError(f"A step could not be recorded: {type(error).__name__}: {error} {_AGAIN}")
