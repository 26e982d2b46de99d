"""Publication of the chosen weights: a FileChannel of the run folder, announced by whoever carries the run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from valor_ray.errors import CheckpointError, StorageError
from valor_ray.grounding.finetune.folder import FinetuneFolder
from valor_ray.runs.publications import version_name
from valor_ray.runs.weight_channel import FileChannel, Probe, Published, PublishedFile

_KEPT = 2  # published versions that stay: this one and what a replica may still be loading


@dataclass(frozen=True)
class FolderWeights:
    """weight_channel.Weights that lie in a folder already, in hub format."""

    source: Path

    def save(self, folder: Path) -> None:
        """Raises StorageError, and leaves nothing behind then."""
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(self.source, folder)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise StorageError(
                f"The weights could not be published: cannot write {folder} ({_reason(error)}). Services go on with "
                "what they have. Free some space, then run the same command again: it goes on here."
            ) from error


def current(folder: FinetuneFolder) -> tuple[str, Path] | None:
    """The version that is published, and its weights, which are there; None: none is, or the file does not say."""
    try:
        publication = PublishedFile(folder.path).read()
    except CheckpointError:
        return None  # it is published again
    if publication is None:
        return None
    weights = folder.weights / Path(publication.folder).name  # the run may have been moved
    return (publication.version, weights) if weights.is_dir() else None


def publish(folder: FinetuneFolder, step: int, chosen: Path, announce: Callable[[str, Path], int]) -> int:
    """Copy the weights to weights/step-N, there whole or not at all, and announce them; how many replicas carry them.

    Waits for the copy, then for the replicas. Raises StorageError, PolicyError, CheckpointError, ServiceError.
    """

    def announced(_step: int, published: Path, _probe: Probe) -> Published:
        return Published(announce(version_name(step), published), [])

    done = FileChannel(folder.weights, _KEPT, announced, first=True).publish(step, FolderWeights(chosen), [])
    return 0 if done is None else done.replicas


def _reason(error: OSError | shutil.Error) -> str:
    """copytree gives a list of (from, to, why) for files that failed."""
    first = error.args[0] if error.args else error
    if isinstance(first, list) and first:
        return str(first[0][-1])
    return str(getattr(error, "strerror", None) or error)
