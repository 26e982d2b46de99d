"""The gate's general set offline: scenes in the looks that the shipped detector was trained on, as COCO writes them.

The gate is the one place that may see labels; `commands/train/grounding.py` renders the set and hands over its path.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from valor_ray.runs.record_file import RecordFile, read_records, replace_text
from valor_ray.tabletop.dataset import PICTURE_SIDE
from valor_ray.tabletop.finetune.rendering import IMAGES, claim, picture_names, render_each
from valor_ray.tabletop.pretrain.detector_words import SHAPE_WORDS, every_class
from valor_ray.tabletop.render import Rendering

ANNOTATIONS = "coco.json"
SCENES = 600  # 200 do not tell a loss of half a point from one of a point (docs/design/gate.md)
SEED = 1  # the set of split "val" that is rendered
_OBJECTS = "objects.jsonl"  # rows of pictures that are done: {"image", "objects": [{"category", "bbox"}]}


def render_general(
    folder: Path, count: int = SCENES, say: Callable[[str], None] = lambda line: None, seed: int = SEED
) -> Path:
    """Render the set unless it is there; returns its coco.json, beside images/. Categories: the 32 "red cube" names.

    seed: of another set with other scenes, to tell how much the figures vary. Takes 0.1 s a scene. Raises ConfigError
    when the folder was made for other scenes, StorageError.
    """
    claim(folder, count, seed)
    names = picture_names(count, seed)
    rows = RecordFile(folder / _OBJECTS, keep=True)
    try:
        objects = {row["image"]: row["objects"] for row in read_records(folder / _OBJECTS)}
        missing = [
            each for each in names if each[0] not in objects or not (folder / IMAGES / each[0]).exists()
        ]
        for name, rendering in render_each(folder, missing, say):
            objects[name] = _objects(rendering)
            rows.append({"image": name, "objects": objects[name]})
    finally:
        rows.close()
    annotations = folder / ANNOTATIONS
    if missing or not annotations.exists():
        replace_text(annotations, json.dumps(_coco({name: objects[name] for name, _, _ in names})) + "\n")
    return annotations


def _objects(rendering: Rendering) -> list[dict[str, Any]]:
    return [
        {
            "category": f"{each.colour} {SHAPE_WORDS[each.shape][0]}",
            "bbox": [float(side) for side in each.bbox],
        }
        for each in rendering.objects
    ]


def _coco(objects: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """COCO instances of pictures by name; ids count from 1, as tools that take 0 for "none" need it."""
    category_ids = {name: number for number, name in enumerate(every_class(), start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, named) in enumerate(objects.items(), start=1):
        images.append(
            {"id": image_id, "file_name": f"{IMAGES}/{name}", "width": PICTURE_SIDE, "height": PICTURE_SIDE}
        )
        for each in named:
            x1, y1, x2, y2 = each["bbox"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_ids[each["category"]],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for name, number in category_ids.items()]
    return {
        "info": {"description": "tabletop scenes"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
