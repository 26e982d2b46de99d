"""A set of drawn pictures: coloured boxes on grey, which the shipped detector sees; and the settings of a short run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from bases import BASES
from PIL import Image

from valor_ray import images
from valor_ray.config.tree import Config
from valor_ray.grounding.dataset.negatives import Region
from valor_ray.grounding.dataset.training import TrainingImage

COLOURS = {"red box": (200, 40, 40), "blue box": (40, 60, 200), "green box": (40, 170, 60)}


def settings(*overrides: str) -> Config:
    return Config.load(
        "local",
        [
            *BASES,
            "finetune.steps=4",
            "finetune.batch=2",
            "finetune.save_every=2",
            "finetune.alphas=[0.5, 1.0]",
            *overrides,
        ],
    )


def tiny_set(folder: Path, pictures: int = 6, **changes) -> Path:
    """changes: of every TrainingImage. Each picture shows one box of a colour; another colour is absent."""
    folder.mkdir(parents=True)
    names = list(COLOURS)
    with (folder / "train.jsonl").open("w") as lines:
        for n in range(pictures):
            shown, other = names[n % 3], names[(n + 1) % 3]
            box = (10.0 + 4 * n, 20.0, 50.0 + 4 * n, 60.0)
            path, picture = draw(folder / "pictures" / f"{n}.png", [(shown, box)])
            refused = (Region((60.0, 70.0, 90.0, 95.0), shown),)
            image = TrainingImage(
                n + 1, picture.key, str(path), 96, 96, False, (Region(box, shown),), (other,), refused, ()
            )
            lines.write(json.dumps(replace(image, **changes).to_record()) + "\n")
    about = {"root": None, "synonyms": [], "next_image_id": pictures + 1}
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def draw(path: Path, boxes: Sequence[tuple[str, tuple[float, ...]]]) -> tuple[Path, images.Picture]:
    rgb = np.full((96, 96, 3), 120, np.uint8)
    rgb[::7] = 135
    for name, (x1, y1, x2, y2) in boxes:
        rgb[int(y1) : int(y2), int(x1) : int(x2)] = COLOURS[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)
    return path, images.from_array(rgb)


def general(folder: Path, pictures: int = 3) -> Path:
    """COCO instances JSON of drawn pictures."""
    names = list(COLOURS)
    shown, boxes = [], []
    for n in range(pictures):
        x = 12.0 + 8 * n
        draw(folder / f"{n}.png", [(names[n % 3], (x, 24.0, x + 36, 60.0))])
        shown.append({"id": n, "file_name": f"{n}.png", "width": 96, "height": 96})
        boxes.append({"id": n, "image_id": n, "category_id": n % 3, "bbox": [x, 24, 36, 36], "iscrowd": 0})
    categories = [{"id": n, "name": name} for n, name in enumerate(names)]
    path = folder / "coco.json"
    path.write_text(json.dumps({"images": shown, "annotations": boxes, "categories": categories}))
    return path
