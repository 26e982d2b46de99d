"""odvg.jsonl and label_map.json, as Open-GroundingDino and mmdetection read them, and a strict reader of both."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.training import TrainingImage
from valor_ray.records import BBox

ODVG, LABELS = "odvg.jsonl", "label_map.json"


@dataclass(frozen=True)
class Instance:
    bbox: BBox  # x1, y1, x2, y2, upright px
    label: int  # 0-based place in label_map.json
    category: str


@dataclass(frozen=True)
class OdvgImage:
    filename: str  # relative to the image root, absolute, or a URL
    width: int  # px
    height: int
    instances: tuple[Instance, ...]


def extended(labels: Iterable[str], phrases: Iterable[str]) -> dict[str, int]:
    """Phrase -> label: those of an earlier label map keep their number, new ones follow in order."""
    return {phrase: label for label, phrase in enumerate(dict.fromkeys([*labels, *phrases]))}


def label_map(labels: Mapping[str, int]) -> str:
    """The text of label_map.json: {"0": "red cube", ...}."""
    return json.dumps({str(label): phrase for phrase, label in labels.items()}, indent=0) + "\n"


def odvg_record(entry: TrainingImage, labels: Mapping[str, int]) -> dict[str, Any]:
    """A line of odvg.jsonl: the confirmed boxes."""
    instances = [
        {"bbox": each.bbox, "label": labels[each.phrase], "category": each.phrase} for each in entry.positives
    ]
    return {
        "filename": entry.filename,
        "height": entry.height,
        "width": entry.width,
        "detection": {"instances": instances},
    }


def read_label_map(path: Path) -> tuple[str, ...]:
    """The phrases in the order of their labels. Raises ConfigError."""
    try:
        record = json.loads(path.read_bytes())
        phrases = tuple(record[str(label)] for label in range(len(record)))
        if not all(isinstance(phrase, str) and phrase for phrase in phrases) or len(set(phrases)) < len(
            phrases
        ):
            raise ValueError("labels must be different texts")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f'{path} is no label map ({error!r}). It must be {{"0": "a phrase", "1": ...}} without gaps.'
        ) from error
    return phrases


def read_odvg(folder: Path) -> Iterator[OdvgImage]:
    """The pictures of an export, each line checked against the format and the label map.

    Raises ConfigError naming file and line.
    """
    phrases = read_label_map(folder / LABELS)
    path = folder / ODVG
    try:
        lines = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}). Mine first.") from error
    with lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield _image(json.loads(line), phrases)
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{path} line {number} is no ODVG record: {error!r}. Correct it."
                ) from error


def _image(record: Mapping[str, Any], phrases: tuple[str, ...]) -> OdvgImage:
    filename, width, height = record["filename"], record["width"], record["height"]
    if not isinstance(filename, str) or not filename:
        raise ValueError("filename must be a text")
    if type(width) is not int or type(height) is not int or width < 1 or height < 1:
        raise ValueError(f"width and height must be whole pixels, not {width!r} and {height!r}")
    instances = record["detection"]["instances"]
    if not isinstance(instances, list):
        raise ValueError("detection.instances must be a list")
    return OdvgImage(
        filename, width, height, tuple(_instance(each, phrases, width, height) for each in instances)
    )


def _instance(record: Mapping[str, Any], phrases: tuple[str, ...], width: int, height: int) -> Instance:
    bbox, label, category = record["bbox"], record["label"], record["category"]
    if type(label) is not int or not 0 <= label < len(phrases):
        raise ValueError(f"label {label!r} is not in the label map (0 to {len(phrases) - 1})")
    if category != phrases[label]:
        raise ValueError(f"label {label} is {phrases[label]!r} in the label map, not {category!r}")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_number(side) for side in bbox):
        raise ValueError(f"bbox must be four numbers, not {bbox!r}")
    x1, y1, x2, y2 = map(float, bbox)
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise ValueError(f"bbox {bbox} is empty or leaves the picture of {width}x{height} px")
    return Instance((x1, y1, x2, y2), label, category)


def _number(side: Any) -> bool:
    return isinstance(side, int | float) and not isinstance(side, bool) and math.isfinite(side)
