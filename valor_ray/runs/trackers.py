"""Where curves go besides TensorBoard: accelerate's trackers, one run there for all starts of a run folder."""

from __future__ import annotations

import importlib
import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker


def check_trackers(projects: Mapping[str, str]) -> None:
    """Raises ConfigError for a tracker whose package is missing. projects: the project of each tracker, by its name.

    The names are those of accelerate, and of the packages.
    """
    for name in projects:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"{_settings(name)}: {name} cannot be imported ({error}). Run `pip install {name}`, or leave it out."
            ) from error


def start_tracker(name: str, project: str, folder: Path) -> GeneralTracker:
    """A tracker's run for a run folder, begun there or gone on with: its id is in the folder.

    Raises ConfigError when it does not start: nobody is logged in, no server answers, the run is gone.
    """
    check_trackers({name: project})
    try:
        return _STARTS[name](project, folder)
    except Exception as error:  # each of the four has errors of its own; told with what to do
        raise ConfigError(
            f"{_settings(name)}: {name} does not start: {type(error).__name__}: {error} Log in as {name} wants it, "
            f"remove {_id_file(folder, name)} if its run has been deleted there, or leave {name} out."
        ) from error


def begun(tracker: GeneralTracker) -> GeneralTracker:
    """The tracker begun in a process that is no learner's.

    accelerate asks its process state who is the main process, also before it logs what it does. To make that state
    would start torch.distributed wherever WORLD_SIZE is set, and a CUDA context wherever there is a GPU.
    """
    from accelerate import tracking

    tracking.logger = logging.getLogger(tracking.__name__)
    tracker.main_process_only = False
    tracker.start()
    return tracker


def _wandb(project: str, folder: Path) -> GeneralTracker:
    """Steps are a value of their own there: those written again after a resume are accepted that way."""
    from accelerate.tracking import WandBTracker

    run_id = _kept_id(folder, "wandb", secrets.token_hex(8))
    tracker = begun(WandBTracker(project, id=run_id, resume="allow", dir=str(folder)))
    tracker.tracker.define_metric("*", step_metric="step")
    return tracker


def _mlflow(project: str, folder: Path) -> GeneralTracker:
    """The id of a run is made there."""
    from accelerate.tracking import MLflowTracker

    file = _id_file(folder, "mlflow")
    known = file.read_text(encoding="utf-8") if file.exists() else None
    tracker = begun(MLflowTracker(project, run_id=known, run_name=folder.name))
    _kept_id(folder, "mlflow", tracker.tracker.info.run_id)
    return tracker


def _trackio(project: str, folder: Path) -> GeneralTracker:
    from accelerate.tracking import TrackioTracker

    name = _kept_id(folder, "trackio", f"{folder.name}-{secrets.token_hex(4)}")
    return begun(TrackioTracker(project, name=name, resume="allow"))


def _comet_ml(project: str, folder: Path) -> GeneralTracker:
    from accelerate.tracking import CometMLTracker

    key = _kept_id(folder, "comet_ml", secrets.token_hex(16))
    return begun(CometMLTracker(project, experiment_key=key, mode="get_or_create"))


_STARTS: dict[str, Callable[[str, Path], GeneralTracker]] = {
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
    "comet_ml": _comet_ml,
}


def send(name: str, tracker: GeneralTracker, values: Mapping[str, float], step: int) -> None:
    """The values of a step. Raises what the tracker's package raises."""
    if name == "wandb":
        tracker.log({**values, "step": step})
    else:
        tracker.log(dict(values), step)


def _id_file(folder: Path, name: str) -> Path:
    return folder / f"{name}_id"


def _kept_id(folder: Path, name: str, new: str) -> str:
    """The id of the folder's run at a tracker; at its first start, `new`."""
    file = _id_file(folder, name)
    if not file.exists():
        file.write_text(new, encoding="utf-8")
    return file.read_text(encoding="utf-8")


def _settings(name: str) -> str:
    """Where the user asked for it."""
    return "grpo.wandb_project, grpo.trackers" if name == "wandb" else "grpo.trackers"
