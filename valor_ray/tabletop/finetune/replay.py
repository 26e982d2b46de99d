"""Unlabelled general pictures to replay on, offline: scenes in the looks that the shipped detector was trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from valor_ray.tabletop.finetune import general
from valor_ray.tabletop.finetune.rendering import IMAGES, claim, picture_names, render_each


def render_replay(
    folder: Path, count: int, seed: int, say: Callable[[str], None] = lambda line: None
) -> Path:
    """Render the pictures of a seed (from 0) unless they are there; returns their folder. No truth is written.

    No seed shares a scene with the gate's set, the held-out scenes, or scenes that are mined. Takes 0.1 s a scene.
    Raises ConfigError when the folder was made for other scenes, StorageError.
    """
    claim(folder, count, seed)
    names = picture_names(count, general.SEED + 1 + seed)  # sets of the same split
    missing = [each for each in names if not (folder / IMAGES / each[0]).exists()]
    for _name, _rendering in render_each(folder, missing, say):
        pass
    return folder / IMAGES
