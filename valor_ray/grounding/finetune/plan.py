"""What a run would do, and what it takes, before anything is done (`--dry-run`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.config.models import SHIPPED_PREFIX, resolve_model
from valor_ray.errors import ConfigError
from valor_ray.grounding.finetune.folder import FinetuneFolder
from valor_ray.grounding.finetune.mined_set import (
    MinedSet,
    check_enough,
    check_pictures,
    open_set,
    split_sizes,
)
from valor_ray.placement.grounding import finetune_placement
from valor_ray.placement.nodes import Node, Rule, records
from valor_ray.runs.store.place import url_of

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.grounding.gate.general import GeneralSet

# The shipped detector in one thread: 20.6 to 21.6 pictures/s, medians of four runs of 300 or 450 steps beside others.
_PICTURE_S = 0.047  # of a step, a picture
_LOOK_S = 0.05  # assumed, to look at a picture once: replay, held-back pictures, general set
_RENDERED_GENERAL = 600  # pictures of the rendered general set (tabletop/finetune/general.py)
_PICTURE_MB = 0.1  # rendered
_STATE = 4  # a checkpoint: weights, their average, two moments of AdamW
_MB = 1 / 2**20


def plan(path: Path, config: Config, scenes: int, nodes: Sequence[Node] | None = None) -> dict[str, Any]:
    """Counts and estimates; null where only the run can tell. Writes nothing.

    scenes: to be mined first where the settings name no set. nodes: where it would run: also who sits on which GPU,
    refused where they do not fit. Raises ConfigError as the run would.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--run {path} is a file. Give a folder.")
    folder, settings = FinetuneFolder(path), config.finetune
    folder.check_config(config)
    mined = _mined(folder, config)
    if mined is None:
        apart = max(1, round(settings.held_back * scenes))
        trained = scenes - apart
    else:
        check_enough(mined, settings)
        check_pictures(mined.images, config.images, pixels=False)
        trained, apart = split_sizes(mined.images, settings)
    done = folder.checkpoints.newest()
    steps = max(settings.number_of_steps(trained), done)
    named = named_general(config)
    general = _RENDERED_GENERAL if named is None else len(named.images)
    replayed = settings.replayed if settings.replay_limit else 0
    return {
        "set": None if mined is None else str(mined.dataset),
        "scenes_to_mine": scenes if mined is None else 0,
        "pictures": trained,
        "held_back": apart,
        "boxes": None if mined is None else sum(len(image.positives) for image in mined.images),
        "phrases": None if mined is None else len(mined.phrases),
        "steps": steps,
        "steps_to_make": steps - done,
        "pictures_per_step": settings.batch * settings.workers,
        "replayed_per_step": replayed,
        "epochs": round(steps * settings.batch * settings.workers / trained, 1) if trained else None,
        "learner_processes": settings.workers,
        "gate_set": settings.general or "tabletop scenes in the looks that the shipped detector has seen",
        "gate_pictures": general,
        "gate_limit_map": settings.gate_limit,
        "minutes_estimated": _minutes(config, steps - done, replayed, apart, general),
        "disk_mib_estimated": _disk(config),
        **({} if nodes is None else {"placement": records(placing(path, config)(nodes))}),
    }


def placing(path: Path, config: Config) -> Rule:
    """Who would sit on which GPU: mining's processes too, where that is still to come."""
    mines = config.finetune.mined is None and not FinetuneFolder(path).plan.exists()
    return partial(finetune_placement, config, mines=mines, here=url_of(path) is not None)


def _mined(folder: FinetuneFolder, config: Config) -> MinedSet | None:
    """The set as far as it is there."""
    if config.finetune.mined is not None:
        return open_set(Path(config.finetune.mined))
    return open_set(folder.mined) if folder.plan.exists() else None


def named_general(config: Config) -> GeneralSet | None:
    """The gate's set of finetune.general; None: to be rendered. Raises ConfigError when it cannot be used."""
    settings = config.finetune
    if settings.general is None:
        return None
    from valor_ray.grounding.gate.general import read_general

    images = None if settings.general_images is None else Path(settings.general_images).expanduser()
    return read_general(Path(settings.general).expanduser(), images, settings.general_limit, config.images)


def _minutes(config: Config, steps: int, replayed: int, apart: int, general: int) -> float | None:
    """Of the shipped detector without GPU; of others nobody knows before their first steps."""
    settings = config.finetune
    if not config.detector.model.startswith(SHIPPED_PREFIX) or settings.num_gpus:
        return None
    a_step = (settings.batch * settings.workers + replayed) * _PICTURE_S
    looked = (len(settings.alphas) + 1) * (apart + general) + (settings.replay_limit if replayed else 0)
    return round((steps * a_step + looked * _LOOK_S) / 60, 1)


def _disk(config: Config) -> int | None:
    """MiB of checkpoints, candidates, published weights and rendered pictures; None where the model is not here."""
    settings = config.finetune
    model = Path(resolve_model(config.detector.model))
    if not model.exists():
        return None
    files = [model] if model.is_file() else [each for each in model.iterdir() if each.is_file()]
    weights = sum(os.path.getsize(each) for each in files) * _MB
    checkpoints = (settings.keep_checkpoints + 2) * _STATE  # the first, the newest, one that is being written
    copies = checkpoints + len(settings.alphas) + 3  # candidates; averaged, chosen, published
    rendered = (_RENDERED_GENERAL * (settings.general is None)) * _PICTURE_MB
    rendered += settings.replay_limit * (settings.replay_pictures is None) * _PICTURE_MB
    return round(copies * weights + rendered)
