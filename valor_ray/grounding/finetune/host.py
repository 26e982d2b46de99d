"""What `valor train grounding` asks of whatever carries the learner (Ray, this process), and of the offline world."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from valor_ray.config.models import DetectorConfig
    from valor_ray.config.tree import Config

Say = Callable[[str], None]
Record = Mapping[str, Any]


@dataclass(frozen=True)
class FinetuneTask:
    """What learner processes are to do. Goes to other nodes, which see its paths."""

    config: Config
    run: Path  # the run folder, absolute
    dataset: Path  # the mined set
    phrases: tuple[str, ...]  # that the start detector is asked on replayed pictures
    replay_pictures: Path | None  # None: no replay
    general: Path  # the gate's annotations, COCO instances JSON
    general_images: Path | None  # None: beside them


@dataclass(frozen=True)
class FinetuneEnd:
    """How learning ended; what was selected is in the run folder."""

    steps: int  # updates made, earlier starts' included
    resumed_from: int  # updates that a checkpoint held at this start; 0: none
    pictures: int  # trained on, without replay
    held_back: int


class Finetuning(Protocol):
    """A host that runs. Called by `finetune` in the driver, one method at a time."""

    def learn(self, task: FinetuneTask, step_done: Callable[[Record], None]) -> FinetuneEnd:
        """`process.learner_work` in as many processes as the settings say; waits for it.

        step_done: called with each step's record, perhaps again after a process has died. Raises ValorError of what
        failed for good.
        """
        ...

    def announce(self, version: str, folder: Path) -> int:
        """Note weights in published.json, and have services that follow the run carry them; how many replicas of the
        host's own Ray do. Each call is a publication of its own, also of a version that was announced before.

        Raises PolicyError, CheckpointError, ServiceError.
        """
        ...


class FinetuneHost(Protocol):
    """Implemented by deployments.finetune.host.RayFinetuneHost and local.LocalFinetuneHost."""

    def running(self, config: Config, run: Path, say: Say) -> AbstractContextManager[Finetuning]:
        """Entering starts what both methods need, leaving ends all. Raises ConfigError, ServiceError."""
        ...


class Offline(Protocol):
    """What the command does for a run that no learner may know of: it mines, renders, and measures on truth.

    Each method goes on where a kill has stopped it, and does nothing twice.
    """

    @property
    def scenes(self) -> int:
        """ "scenes" of the evaluation.json that `evaluate` makes; 0: it measures nothing."""
        ...

    def mine(self) -> Path:
        """Mine into the run folder; the folder of that mining run. Raises as `grounding.mine.run.mine`."""
        ...

    def replay_pictures(self) -> Path:
        """Folder of unlabelled general pictures."""
        ...

    def general(self) -> Path:
        """The gate's set: COCO instances JSON beside its pictures."""
        ...

    def evaluate(self, models: Mapping[str, DetectorConfig]) -> dict[str, Any] | None:
        """evaluation.json, as report/finetuning/tables.py reads it, of models "start" and, where published, "end";
        None where nobody knows the truth. Nothing of it goes back into training."""
        ...
