"""What a detector sees of held-out scenes, kept on disk by its weights, for several tables. For evaluation only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from valor_ray.config.models import DetectorConfig, resolve_model
from valor_ray.errors import StorageError
from valor_ray.images import from_array
from valor_ray.measure.detection_ap import Boxes
from valor_ray.tabletop.scenes import SPLIT_SEEDS

if TYPE_CHECKING:
    from valor_ray.models.grounding_dino.ranking import Ranked
    from valor_ray.tabletop.pretrain.detector_scenes import Scenes

MOST = 100  # (query, phrase) pairs a picture, as COCO's evaluation takes
_AT_ONCE = 32  # pictures
_SUFFIXES = {
    ".safetensors",
    ".json",
    ".txt",
    ".pth",
    ".model",
}  # files of a model's folder that decide what it sees


def every_label() -> list[str]:
    """The 32 classes, spelt as programs ask for them: "red cube" ..., colour by colour."""
    from valor_ray.tabletop.pretrain.detector_words import every_class

    return every_class()


@dataclass(frozen=True)
class SceneSet:
    """Held-out scenes in one look. The same scenes are in every look."""

    look: str
    first: int  # place of the first scene in the held-out range
    count: int


@dataclass(frozen=True)
class Seen:
    """Boxes of a set's pictures, or the true ones: [label][picture]."""

    boxes: list[list[Boxes]]


def rendered(scenes: SceneSet, cache: Path, say: Callable[[str], None]) -> Scenes:
    """The pictures and their objects, from `cache`/scenes; what is not there is rendered and kept (0.25 MB a scene)."""
    from valor_ray.tabletop.pretrain.detector_scenes import cached_scenes

    first = SPLIT_SEEDS["held_out"].start + scenes.first
    return cached_scenes(cache / "scenes", first, scenes.count, (scenes.look,), say)


def truth(scenes: Scenes) -> Seen:
    """All labelled objects."""
    labels = range(len(every_label()))
    boxes: list[list[Boxes]] = [[] for _ in labels]
    for index in range(len(scenes)):
        corners, kinds = scenes.boxes[index], scenes.kinds[index]
        for label in labels:
            mine = corners[kinds == label]
            boxes[label].append(Boxes(mine, np.ones(len(mine))))
    return Seen(boxes)


def detections(
    model: DetectorConfig, scenes: Scenes, name: str, cache: Path, say: Callable[[str], None]
) -> Seen:
    """What the detector sees when it is asked for every label together; from `cache`/boxes where it is there.

    name: of the set, for messages. Blocks for a forward pass a picture. Raises CheckpointError, StorageError.
    """
    labels = every_label()
    file = cache / "boxes" / f"{_key(model, scenes, labels)}.npz"
    if not file.exists():
        say(f"{len(scenes)} pictures of {name} through {model.model}")
        _save(file, _ranked(model, scenes, labels))
    with np.load(file) as kept:
        boxes, scores, places, pictures = (kept[each] for each in ("boxes", "scores", "places", "pictures"))
    made: list[list[Boxes]] = []
    for label in range(len(labels)):
        mine = np.flatnonzero(places == label)
        cuts = np.searchsorted(pictures[mine], np.arange(1, len(scenes)))
        made.append([Boxes(boxes[rows], scores[rows]) for rows in np.split(mine, cuts)])
    return Seen(made)


def weights_of(model: DetectorConfig) -> str:
    """16 hex digits by which a detector's files are told apart; a hub id stands for itself."""
    place = Path(resolve_model(model.model))
    digest = hashlib.sha256()
    if not place.exists():
        digest.update(model.model.encode())
    for path in sorted(place.iterdir()) if place.is_dir() else [place]:
        if path.is_file() and path.suffix in _SUFFIXES:
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _key(model: DetectorConfig, scenes: Scenes, labels: Sequence[str]) -> str:
    """Weights, then what they were asked: pictures, labels, size."""
    asked = hashlib.sha256(json.dumps([list(labels), MOST, model.image_side, len(scenes)]).encode())
    for rgb in scenes.rgb:
        asked.update(rgb.tobytes())
    return f"{weights_of(model)}-{asked.hexdigest()[:16]}"


def _ranked(model: DetectorConfig, scenes: Scenes, labels: Sequence[str]) -> list[Ranked]:
    from valor_ray.models.grounding_dino.detector import GroundingDino
    from valor_ray.models.grounding_dino.ranking import rank

    detector = GroundingDino(model)
    seen: list[Ranked] = []
    for start in range(0, len(scenes), _AT_ONCE):
        pictures = [from_array(np.array(rgb)) for rgb in scenes.rgb[start : start + _AT_ONCE]]
        seen += rank(detector, pictures, labels, MOST)
    return seen


def _save(file: Path, seen: Sequence[Ranked]) -> None:
    part = file.with_name(file.name + ".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as out:
            np.savez(
                out,
                boxes=np.concatenate([each.boxes for each in seen]),
                scores=np.concatenate([each.scores for each in seen]),
                places=np.concatenate([each.places for each in seen]).astype(np.int16),
                pictures=np.repeat(np.arange(len(seen), dtype=np.int32), [len(each.scores) for each in seen]),
            )
        part.replace(file)
    except OSError as error:
        raise StorageError(
            f"Cannot write {file} ({error.strerror or error}). Free some space, then run the same command again."
        ) from error
