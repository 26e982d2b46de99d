"""The host without Ray: one learner, in this process. For small sets and debugging."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.errors import ConfigError
from valor_ray.grounding.finetune.host import FinetuneEnd, FinetuneTask, Record, Say
from valor_ray.grounding.finetune.process import learner_work
from valor_ray.runs.weight_channel import publish_by_file

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


class LocalFinetuneHost:
    """host.FinetuneHost."""

    @contextmanager
    def running(self, config: Config, run: Path, say: Say) -> Iterator[_LocalFinetune]:
        _check_gpu(config)
        yield _LocalFinetune(run, say)


class _LocalFinetune:
    """host.Finetuning."""

    def __init__(self, run: Path, say: Say) -> None:
        self._run, self._say = run, say

    def learn(self, task: FinetuneTask, step_done: Callable[[Record], None]) -> FinetuneEnd:
        return learner_work(task, True, lambda: None, self._say, step_done)

    def announce(self, version: str, folder: Path) -> int:
        """Nobody is waited for: services that follow the run look at the file."""
        return publish_by_file(self._run, version, folder)


def _check_gpu(config: Config) -> None:
    if not config.finetune.num_gpus:
        return
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(
            f"finetune.num_gpus is {config.finetune.num_gpus:g}, and this machine has no GPU that torch can use. Give "
            "--set finetune.num_gpus=0, or --profile local."
        )
