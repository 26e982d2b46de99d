"""train.jsonl: the whole set as training reads it, a line a picture, with what ODVG and COCO cannot hold.

What a learner makes of a prediction for phrase p in a picture, first that fits:
1. it is matched to a positive of p: positive;
2. p is absent in the picture, as the verifier says who was asked: negative, wherever it is;
3. it overlaps (IoU 0.5) a hard negative of p: negative;
4. it overlaps a positive of p that another prediction has, or one of another name that p is surely not: negative;
5. all else, the ignored regions among it: ignored. Nobody has looked there; it is not background. Open phrases are
   ignored everywhere but at their hard negatives: their object may be any.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.negatives import Region
from valor_ray.grounding.dataset.synonyms import Synonyms
from valor_ray.queries.read import local_picture

TRAIN, ABOUT = "train.jsonl", "dataset.json"
_REGIONS = ("positives", "hard_negatives", "ignored")


@dataclass(frozen=True)
class TrainingImage:
    """A picture of the set. Boxes: pixels of the upright picture, x1, y1, x2, y2, inside it; phrases: normal forms."""

    image_id: int  # from 1; stays when mining again adds pictures
    key: str  # Picture.key of the picture that was mined
    filename: str  # as in ODVG and COCO: relative to the set's root, absolute, or a URL
    width: int  # px
    height: int
    copied: bool  # a copy of a picture that EXIF turns, that was scaled down, or that is HEIC
    positives: tuple[Region, ...]  # confirmed boxes
    absent: tuple[str, ...]  # phrases that name nothing in the picture
    hard_negatives: tuple[Region, ...]  # rejected boxes
    ignored: tuple[Region, ...]  # neither; Region.why
    open: tuple[
        str, ...
    ] = ()  # phrases that were asked and may name any object of the picture: no box, no "absent"
    path: str = ""  # absolute path or URL; `training_images` fills it in, the file does not hold it

    def to_record(self) -> dict[str, Any]:
        """The JSON object that is kept of it."""
        record: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("image_id", "key", "filename", "width", "height", "copied", "absent", "open")
        }
        for name in _REGIONS:
            regions: tuple[Region, ...] = getattr(self, name)
            record[name] = [
                {"bbox": each.bbox, "phrase": each.phrase} | ({"why": each.why} if each.why else {})
                for each in regions
            ]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError, ValueError."""
        values: dict[str, Any] = {
            name: record[name] for name in ("image_id", "key", "filename", "width", "height", "copied")
        }
        regions: dict[str, Any] = {
            name: tuple(
                Region(_bbox(each["bbox"]), each["phrase"], each.get("why", "")) for each in record[name]
            )
            for name in _REGIONS
        }
        # sets of before have no open phrases
        return cls(**values, **regions, absent=tuple(record["absent"]), open=tuple(record.get("open", ())))


def training_images(folder: Path) -> Iterator[TrainingImage]:
    """The pictures of an exported set, in order. Raises ConfigError naming what is not there or the wrong line."""
    root = read_about(folder)["root"]
    for entry in read_train(folder / TRAIN):
        yield replace(entry, path=_located(entry.filename, root, folder))


def read_synonyms(folder: Path) -> Synonyms:
    """The synonym guard of an exported set: captions need it. Raises ConfigError."""
    return Synonyms((a, b) for a, b in read_about(folder)["synonyms"])


def read_about(folder: Path) -> dict[str, Any]:
    """dataset.json: root, counts, synonyms, next_image_id. Raises ConfigError."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_bytes())
        about["root"], about["synonyms"], about["next_image_id"]
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} holds no detection set: {ABOUT} is not there. Mine first.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error!r}). Delete that folder and mine again.") from error
    return dict(about)


def read_train(path: Path) -> Iterator[TrainingImage]:
    """Lines of train.jsonl, without `path`. Raises ConfigError naming file and line."""
    try:
        lines = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}). Mine first.") from error
    with lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield TrainingImage.from_record(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{path} line {number} is no picture of a detection set ({error!r}). Mine again: the set is "
                    "written anew from images.jsonl."
                ) from error


def _located(filename: str, root: str | None, folder: Path) -> str:
    """The absolute path or the URL of a filename of the set in `folder`, whose dataset.json names the root."""
    path = local_picture(filename)
    if path is None or root is None:
        return filename
    return os.path.normpath(folder.absolute() / root / path)


def _bbox(sides: list[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = sides
    return (x1, y1, x2, y2)
