"""The set that is trained on: found where the user says, and checked before anything starts."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError, ImageError
from valor_ray.grounding.dataset.pictures import load_picture
from valor_ray.grounding.dataset.training import ABOUT, TRAIN, TrainingImage, read_about, training_images
from valor_ray.grounding.learner.split import split
from valor_ray.images import header
from valor_ray.queries.read import local_picture
from valor_ray.runs.folder import MINE, check_kind, kind_of

if TYPE_CHECKING:
    from valor_ray.config.finetune import FinetuneConfig
    from valor_ray.config.service import ImageConfig

OPTION = "--mined"
_NAMED = 3  # pictures that an error names
_THREADS = 4  # that read pictures


@dataclass(frozen=True)
class MinedSet:
    """A set in the layout of grounding/dataset."""

    dataset: Path  # its folder, absolute
    mine: Path | None  # the run folder of `valor mine` that it is of; None: a bare set
    sha256: str  # of train.jsonl and dataset.json
    images: tuple[TrainingImage, ...]

    @property
    def phrases(self) -> list[str]:
        """All that its pictures were asked for, in order of first appearance."""
        named: dict[str, None] = {}
        for image in self.images:
            for region in (*image.positives, *image.hard_negatives, *image.ignored):
                named.setdefault(region.phrase)
            named.update(dict.fromkeys(image.absent))
        return list(named)

    @property
    def confirmed_phrases(self) -> list[str]:
        """Those with a confirmed box: names of things, by the verifier's word."""
        return sorted({each.phrase for image in self.images for each in image.positives})

    def record(self) -> dict[str, Any]:
        """For plan and report."""
        return {
            "dataset": str(self.dataset),
            "mine": None if self.mine is None else str(self.mine),
            "sha256": self.sha256,
            "images": len(self.images),
            "boxes": sum(len(image.positives) for image in self.images),
            "absent": sum(len(image.absent) for image in self.images),
            "hard_negatives": sum(len(image.hard_negatives) for image in self.images),
            "phrases": len(self.phrases),
        }


def open_set(folder: Path) -> MinedSet:
    """The set of a run folder of `valor mine`, or of a dataset folder.

    Reads train.jsonl whole. Raises ConfigError: no such folder, another command's, mining has not ended or goes on
    there, a set of another version, no confirmed box.
    """
    dataset, mine = _places(folder)
    if mine is not None:
        _check_quiet(mine)
    about = read_about(dataset)
    digest = hashlib.sha256()
    for name in (TRAIN, ABOUT):
        digest.update(_bytes(dataset / name))
    images = tuple(training_images(dataset))
    if not any(image.positives for image in images):
        refused = sum(len(image.hard_negatives) for image in images)
        raise ConfigError(
            f"{dataset} holds no confirmed box ({len(images)} pictures, {refused} boxes refused; by its {ABOUT}: "
            f"{about.get('counts')}): nothing can be learnt from it. Look at the mining run's report.html; mine more "
            "pictures, or other ones."
        )
    return MinedSet(dataset, mine, digest.hexdigest(), images)


def _places(folder: Path) -> tuple[Path, Path | None]:
    """Folder of the set, and the mining run's."""
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(f"{OPTION} {folder} is no folder. Give a run folder of `valor mine`, or a set.")
    if kind_of(folder) is None and (folder / ABOUT).exists():
        return folder, folder.parent if kind_of(folder.parent) is MINE else None
    check_kind(folder, MINE, OPTION)
    if not (folder / "dataset" / ABOUT).exists():
        if kind_of(folder) is MINE:
            raise ConfigError(
                f"{OPTION} {folder} holds no set yet: mining there has not come to its end. "
                f"`valor mine --run {folder}` goes on."
            )
        raise ConfigError(
            f"{OPTION} {folder} is neither a run folder of `valor mine` nor a set: {ABOUT} is not there. Mine first."
        )
    return folder / "dataset", folder


def _check_quiet(mine: Path) -> None:
    """Raises ConfigError when a mining run is writing there: its set is not what it will be."""
    try:
        lock = (mine / "lock").open("r")
    except OSError:
        return  # copied without it, or never locked
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{OPTION} {mine}: mining goes on there (process {lock.read().strip()}). Wait for its end, or stop it: "
                "then the set is that of what it has recorded."
            ) from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}). Mine first.") from error


def split_sizes(images: Iterable[TrainingImage], config: FinetuneConfig) -> tuple[int, int]:
    """(pictures trained on, pictures held back) as the learner will split them."""
    trained, apart = split(images, config)
    return len(trained), len(apart)


def check_enough(mined: MinedSet, config: FinetuneConfig) -> None:
    """Raises ConfigError when a step would take more pictures than there are."""
    trained, apart = split_sizes(mined.images, config)
    wanted = config.batch * config.workers
    if trained < wanted:
        raise ConfigError(
            f"{mined.dataset} has {trained} pictures to train on ({apart} more are held back), and a step takes "
            f"{wanted} (finetune.batch {config.batch} x finetune.workers {config.workers}). Mine more, or give "
            f"--set finetune.batch={max(1, trained // config.workers)}."
        )


def check_pictures(images: Sequence[TrainingImage], limits: ImageConfig, *, pixels: bool) -> None:
    """Whether every picture is there as it was mined. Reads their headers; with `pixels` decodes them all, 10 ms each.

    Raises ConfigError naming the first few that are not.
    """
    urls = [image.path for image in images if local_picture(image.path) is None]
    if urls:
        raise ConfigError(
            f"{len(urls)} of {len(images)} pictures of the set are not on this machine ({_some(urls)}). Download them, "
            "and mine the files."
        )
    with ThreadPoolExecutor(_THREADS) as pool:
        problem: Callable[[TrainingImage], str] = lambda image: _problem(image, limits, pixels)  # noqa: E731
        problems = [each for each in pool.map(problem, images) if each]
    if problems:
        raise ConfigError(
            f"{len(problems)} of {len(images)} pictures of the set cannot be used: {_some(problems)}"
        )


def _problem(image: TrainingImage, limits: ImageConfig, pixels: bool) -> str:
    """What is wrong with a picture; "" when nothing is."""
    if pixels:
        try:
            load_picture(image, limits)
        except ImageError as error:
            return str(error)
        return ""
    try:
        seen = header(Path(image.path), limits)
    except ImageError as error:
        return f"{image.path}: {error}"
    if (seen.width, seen.height) == (image.width, image.height):
        return ""
    return f"{image.path} has changed since it was mined. Put the old file back, or mine it again."


def _some(names: Sequence[str]) -> str:
    return "; ".join(_first(names)) + (f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _first(names: Sequence[str]) -> Iterator[str]:
    yield from names[:_NAMED]
