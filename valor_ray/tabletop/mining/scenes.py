"""Scenes for `valor mine`: pictures and queries in a folder; true objects apart, in a file for evaluation alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from valor_ray.errors import ConfigError, StorageError
from valor_ray.runs.record_file import replace_text
from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, Item, items, rows
from valor_ray.tabletop.scenes import GROUNDING_LOOKS

QUERIES = 800  # without grounding.query_limit
_MADE_BY = "scenes.json"  # in the folder of the pictures: what they were rendered for
_AGAIN = "Free some space, then run the same command again."


def scenes_of(query_limit: int | None) -> int:
    """How many scenes so many queries need."""
    return -(-(query_limit or QUERIES) // QUESTIONS_PER_SCENE)


def check_rendered(data: Path, scenes: int, seed: int) -> bool:
    """Whether the folder holds these scenes. Raises ConfigError when it holds others."""
    if not data.exists():
        return False
    try:
        made = json.loads((data / _MADE_BY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot tell what scenes {data} holds: {error}. Give another --run.") from error
    wanted = {"scenes": scenes, "seed": seed}
    if made != wanted:
        raise ConfigError(
            f"{data} holds {made.get('scenes')} scenes of grounding.seed {made.get('seed')}, not {scenes} of {seed}. "
            f"Give another --run, or --set grounding.seed={made.get('seed')} "
            f"--set grounding.query_limit={QUESTIONS_PER_SCENE * int(made.get('scenes') or 0)}."
        )
    return True


def render_scenes(
    data: Path, objects: Path, scenes: int, seed: int, say: Callable[[str], None] = lambda line: None
) -> None:
    """Render the scenes of a seed in the grounding looks in turn, unless they are there: `data` gets queries.jsonl and
    images/, `objects` the truth. An interrupted rendering begins anew: what is half made has another name.

    Raises ConfigError when `data` holds other scenes, StorageError.
    """
    if check_rendered(data, scenes, seed) and objects.exists():
        return
    say(f"rendering {scenes} scenes")
    part = data.with_name(data.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        (part / "images").mkdir(parents=True)
        objects.parent.mkdir(parents=True, exist_ok=True)
        truth = _write(part, scenes, seed)
        (part / _MADE_BY).write_text(json.dumps({"scenes": scenes, "seed": seed}) + "\n", encoding="utf-8")
        replace_text(objects, truth)  # first: where the pictures are, it is too
        if data.exists():
            shutil.rmtree(data)
        part.rename(data)
    except OSError as error:
        raise StorageError(f"Cannot write {part} ({error.strerror or error}). {_AGAIN}") from error


def _write(folder: Path, scenes: int, seed: int) -> str:
    """Pictures and queries; returns the rows of true objects."""
    truth = []
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as queries:
        for item in items(scenes, seed, looks=GROUNDING_LOOKS):
            name = f"{item.look}-{item.scene_seed}.png"
            Image.fromarray(item.rendering.rgb).save(folder / "images" / name)
            for query, _answer in rows(item, name):
                queries.write(json.dumps(query) + "\n")
            truth.append(json.dumps({"image": name, "objects": _objects(item)}) + "\n")
    return "".join(truth)


def _objects(item: Item) -> list[dict[str, Any]]:
    return [
        {
            "bbox": [float(side) for side in each.bbox],
            "colour": each.colour,
            "shape": each.shape,
            "visible": round(float(each.visible), 4),
        }
        for each in item.rendering.objects
    ]
