"""coco.json: the confirmed boxes for tools that read COCO. Written piece by piece: memory is one picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from valor_ray.grounding.dataset.training import TrainingImage

COCO = "coco.json"


def write_coco(path: Path, entries: Callable[[], Iterable[TrainingImage]], labels: Mapping[str, int]) -> None:
    """entries: gives the pictures anew each time (they are gone through twice). Raises OSError."""
    categories = ({"id": label + 1, "name": phrase} for phrase, label in labels.items())
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"description": "boxes confirmed by a vision verifier"}, "licenses": [],\n')
        for name, records in (
            ("categories", categories),
            ("images", map(_image, entries())),
            ("annotations", _annotations(entries(), labels)),
        ):
            file.write(f'"{name}": [')
            for place, record in enumerate(records):
                file.write((",\n" if place else "\n") + json.dumps(record))
            file.write("]" if name == "annotations" else "],\n")
        file.write("}\n")


def _image(entry: TrainingImage) -> dict[str, Any]:
    return {
        "id": entry.image_id,
        "file_name": entry.filename,
        "width": entry.width,
        "height": entry.height,
    }


def _annotations(entries: Iterable[TrainingImage], labels: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    number = 0
    for entry in entries:
        for each in entry.positives:
            number += 1
            x1, y1, x2, y2 = each.bbox
            yield {
                "id": number,
                "image_id": entry.image_id,
                "category_id": labels[each.phrase] + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
