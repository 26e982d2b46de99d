"""Scenes rendered one by one into a folder of a run: goes on where it was interrupted, and refuses other scenes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from valor_ray.errors import ConfigError, StorageError
from valor_ray.runs.record_file import replace_text
from valor_ray.tabletop.dataset import PICTURE_SIDE
from valor_ray.tabletop.render import Rendering, render
from valor_ray.tabletop.scenes import SEEN_LOOKS, sample_scene, set_seeds

IMAGES = "images"
SPLIT = "val"  # its first set (seed 0) is taken: pre-training watched it, generators are calibrated on it
_MADE_FOR = "scenes.json"  # what the pictures of the folder are rendered for


def claim(folder: Path, count: int, seed: int) -> None:
    """Make the folder for so many scenes of a set's seed, or see that it was made for these.

    Raises ConfigError when it was made for others, or holds anything else; StorageError.
    """
    note, wanted = folder / _MADE_FOR, {"scenes": count, "seed": seed}
    if not note.exists():
        try:
            (folder / IMAGES).mkdir(parents=True, exist_ok=True)
            if any((folder / IMAGES).iterdir()):
                raise ConfigError(f"{folder} holds pictures without {_MADE_FOR}. Give another --run.")
        except OSError as error:
            raise StorageError(
                f"Cannot write {folder} ({error.strerror or error}). Free some space."
            ) from error
        replace_text(note, json.dumps(wanted) + "\n")
        return
    try:
        made = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot tell what scenes {folder} holds: {error}. Give another --run.") from error
    if made != wanted:
        raise ConfigError(
            f"{folder} holds {made.get('scenes')} scenes of seed {made.get('seed')}, not {count} of {seed}. Give "
            "another --run, or the settings that it was made with."
        )


def picture_names(count: int, seed: int) -> list[tuple[str, int, str]]:
    """(file name, scene seed, look) of the pictures in order: the looks that the shipped detector has seen, in turn."""
    seeds = set_seeds(SPLIT, seed)
    if count > len(seeds):
        raise ConfigError(f"A set holds at most {len(seeds):,} scenes, not {count:,}. Ask for fewer.")
    looks = [SEEN_LOOKS[number % len(SEEN_LOOKS)] for number in range(count)]
    return [(f"{look}-{scene}.png", scene, look) for scene, look in zip(seeds, looks, strict=False)]


def render_each(
    folder: Path, names: list[tuple[str, int, str]], say: Callable[[str], None]
) -> Iterator[tuple[str, Rendering]]:
    """Render the pictures of these names in order; each file is whole before it is yielded. Raises StorageError."""
    if names:
        say(f"rendering {len(names)} scenes into {folder}")
    for name, seed, look in names:
        rendering = render(sample_scene(seed, look), PICTURE_SIDE)
        path, part = folder / IMAGES / name, folder / f"{name}.part"
        try:
            Image.fromarray(rendering.rgb).save(part, "PNG")
            part.replace(path)
        except OSError as error:
            raise StorageError(
                f"Cannot write {path} ({error.strerror or error}). Free some space, then run the same command again: "
                "it goes on where it stopped."
            ) from error
        yield name, rendering
