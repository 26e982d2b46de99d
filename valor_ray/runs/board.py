"""Each metrics record as scalars: for TensorBoard always, for Weights & Biases where `grpo.wandb_project` is set."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError, StorageError

FOLDER = "tensorboard"  # in the run folder
_NO_CURVE = ("step", "time")
_FLUSH_S = 5  # what a kill may lose; metrics.jsonl has it all the same


class Board:
    """Curves of one run, over all its restarts. Call `close` at the end."""

    def __init__(self, folder: Path, purge_step: int | None = None, wandb_project: str | None = None) -> None:
        """folder: the run's. purge_step: after a resume, the step that is written next; what an earlier run wrote of it
        and of later ones is hidden by TensorBoard.

        Raises ConfigError when wandb is wanted and cannot be used, StorageError when nothing can be written.
        """
        from tensorboardX import SummaryWriter

        try:
            self._writer = SummaryWriter(
                str(folder / FOLDER),
                purge_step=purge_step,
                flush_secs=_FLUSH_S,
                filename_suffix=f".{time.time_ns()}",  # two restarts in one second keep their own file
            )
        except OSError as error:
            raise StorageError(f"Cannot write {folder / FOLDER} ({error.strerror}).") from error
        self._wandb = _wandb_run(folder, wandb_project) if wandb_project else None

    def write(self, record: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl. What is no finite number (null, NaN) has no point in the curve."""
        step = record["step"]
        values = dict(scalars(record))
        for name, value in values.items():
            self._writer.add_scalar(name, value, step, _wall_time(record))
        if self._wandb is not None:
            self._wandb.log({**values, "step": step})

    def close(self) -> None:
        self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()


def scalars(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of every number of a record; those of a nested object are named as in `heads/logic`."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{above}{name}/")
        elif (above or name not in _NO_CURVE) and isinstance(value, int | float) and math.isfinite(value):
            yield f"{above}{name}", float(value)


def _wall_time(record: Mapping[str, Any]) -> float | None:
    when = record.get("time")
    return float(when) if isinstance(when, int | float) else None


def _wandb_run(folder: Path, project: str) -> Any:
    """The run at Weights & Biases; a resumed one goes on under its id. Steps are a value of their own there: those
    written again after a resume are accepted that way."""
    try:
        import wandb
    except ImportError as error:
        raise ConfigError(
            f"grpo.wandb_project={project}: wandb is not installed. Run `pip install wandb`, or leave the setting null."
        ) from error
    known = folder / "wandb_id"
    if not known.exists():
        known.write_text(secrets.token_hex(8), encoding="utf-8")
    try:
        run = wandb.init(
            project=project, id=known.read_text(encoding="utf-8"), resume="allow", dir=str(folder)
        )
    except wandb.Error as error:
        raise ConfigError(
            f"grpo.wandb_project={project}: {error}. Run `wandb login`, or leave the setting null."
        ) from error
    run.define_metric("*", step_metric="step")
    return run
