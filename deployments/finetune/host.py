"""Fine-tunes the detector on Ray: what carries `valor train grounding`, and the same thing as a job.

    valor train grounding --run runs/finetuned
    ray job submit -- python -m jobs.train_grounding --run /shared/runs/finetuned

On a cluster, the run folder and the pictures of the set must be such that all nodes see them; with a run at a URL the
learner runs on the driver's machine, and all it writes goes to the store from there.

Ray Train runs the learner, in as many processes as finetune.workers says; what they note (lines, step records, the end)
comes back through an actor. The first of them also makes the replay set before, and chooses the weights after: the
driver needs no GPU.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.actors.notes import Notes
from deployments.failures import log_place
from deployments.learner.leaving import leave_machine, watch_notice
from deployments.learner.ray_train import LearnerTask, RayLearner, noting
from valor_ray.errors import ValorError
from valor_ray.grounding.finetune.host import FinetuneEnd, FinetuneTask, Record, Say
from valor_ray.grounding.finetune.process import learner_work
from valor_ray.grounding.learner.learn import LearnerLeaves
from valor_ray.placement.grounding import finetune_placement
from valor_ray.runs.store.place import url_of

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from valor_ray.config.tree import Config

_PARTING_S = 5.0  # for the learner's threads to end when it has failed
_PUBLISH_S = 600.0  # for all replicas to carry new weights; one that starts again takes minutes


class RayFinetuneHost:
    """grounding.finetune.host.FinetuneHost on this machine's own Ray, or on the cluster of RAY_ADDRESS.

    `valor train grounding` makes one. Entering `running` waits until Ray is up; leaving ends what was started.
    """

    @contextmanager
    def running(self, config: Config, run: Path, say: Say) -> Iterator[_RayFinetune]:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        from deployments.serving import check_placed, running_ray

        with running_ray(config, say):
            check_placed(config, say, partial(finetune_placement, config, here=url_of(run) is not None))
            yield _RayFinetune(config, run, say)


class _RayFinetune:
    """host.Finetuning."""

    def __init__(self, config: Config, run: Path, say: Say) -> None:
        self._config, self._run, self._say = config, run, say

    def learn(self, task: FinetuneTask, step_done: Callable[[Record], None]) -> FinetuneEnd:
        """Ends as soon as a process says that it cannot go on; a process that dies is begun again by Ray Train."""
        from deployments.metrics.grounding import measured_steps

        notes = _new_notes()
        over, failures = threading.Event(), list[ValorError]()

        def failed(error: ValorError) -> None:
            failures.append(error)
            over.set()

        settings = task.config.finetune
        learner = RayLearner(
            LearnerTask(
                learner_process,
                {"task": task, "notes": notes},
                settings.workers,
                settings.num_gpus,
                self._run / "ray_train",
                here=url_of(self._run) is not None,
            ),
            notes,
            {
                "say": self._say,
                "step": measured_steps(self._run.name, step_done),
                "failed": failed,
            },
            lambda reason: over.set(),
        )
        self._say(
            f"starting {settings.workers} learner {'process' if settings.workers == 1 else 'processes'}"
        )
        learner.start()
        over.wait()
        learner.join(_PARTING_S)
        if failures:
            raise failures[0]
        end: FinetuneEnd = learner.end()
        return end

    def announce(self, version: str, folder: Path) -> int:
        from deployments.actors.publications import publish_detector

        return len(publish_detector(str(self._run), version, folder, _PUBLISH_S))


def _new_notes() -> ActorHandle:
    """For one start of the learner; it ends with its handle."""
    import ray

    return ray.remote(Notes).options(num_cpus=0).remote()


def learner_process(given: dict[str, Any]) -> None:
    """What each process of Ray Train runs."""
    from ray.train import get_context

    task: FinetuneTask = given["task"]
    notes: ActorHandle = given["notes"]
    note, context = noting(notes), get_context()
    log_place("learner")
    try:
        end = learner_work(
            task,
            context.get_world_rank() == 0,
            _together,
            lambda line: note("say", line),
            lambda record: note("step", dict(record)),
            watch_notice().is_set,
        )
    except LearnerLeaves as leaves:
        _together()
        leave_machine(leaves.step, note)
    except ValorError as error:  # what the user must know, by its class; to try again would not help
        _tell(notes, "failed", error)
        if context.get_world_size() == 1:
            return
        raise  # the other processes wait for this one
    note("end", end)


def _tell(notes: ActorHandle, kind: str, content: Any) -> None:
    """A note of whichever process."""
    import ray

    ray.get(notes.note.remote(kind, content))


def _together() -> None:
    """Returns when every process is here."""
    from torch import distributed

    if distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.barrier()
