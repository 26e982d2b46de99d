"""Records of mining, one a picture: what came in several records of the same pixels is put together."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Self

from valor_ray.grounding.dataset.files import writing
from valor_ray.judges.boxes.geometry import clipped
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.records import CheckedBox, MinedImage


class MergedImages(AbstractContextManager["MergedImages"]):
    """Merged pictures in the order in which they first came, as often as one goes through them.

    The records are laid out in an unnamed file in `folder` (gone with the process, however it ends). Memory: a key and
    a place a record, and the records of one picture. Raises StorageError when the disk is full.
    """

    def __init__(self, records: Iterable[MinedImage], folder: Path) -> None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._places: dict[str, list[tuple[int, int]]] = {}  # key -> (offset, length) of its records
        offset = 0
        for record in records:
            line = json.dumps(record.to_record()).encode()
            with writing(folder):
                self._file.write(line)
            self._places.setdefault(record.key, []).append((offset, len(line)))
            offset += len(line)
        with writing(folder):
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[MinedImage]:
        for places in self._places.values():
            yield merge([self._read(*place) for place in places])

    def _read(self, offset: int, length: int) -> MinedImage:
        self._file.seek(offset)
        return MinedImage.from_record(json.loads(self._file.read(length)))


def merge(records: Sequence[MinedImage]) -> MinedImage:
    """One record of a picture's records, oldest first: phrases by normal form, boxes best first, costs summed.

    A phrase that came twice has the boxes of the latest record that knows a verdict for each of them; when none does,
    those of the latest, with the verdicts that earlier records have of the same boxes. Boxes are clipped to the
    picture, and left out when nothing of them lies in it. Presence: what the latest record says that knows a verdict,
    by normal form.
    """
    first = records[0]
    phrases: dict[str, str] = {}
    groups: dict[str, list[list[CheckedBox]]] = {}
    for record in records:
        for phrase in record.phrases:
            phrases.setdefault(normal_form(phrase), phrase)
        for normal, boxes in _by_phrase(record).items():
            groups.setdefault(normal, []).append(boxes)
    phrases.pop("", None)
    presence: dict[str, str | None] = {}
    for record in records:
        for phrase, verdict in record.presence.items():
            normal = normal_form(phrase)
            presence[normal] = presence.get(normal) if verdict is None else verdict
    boxes = [box for versions in groups.values() for box in _latest(versions)]
    boxes.sort(key=lambda box: -box.score)
    slips: dict[str, int] = {}
    for record in records:
        for kind, count in record.slips.items():
            slips[kind] = slips.get(kind, 0) + count
    return replace(
        first,
        query_ids=tuple(dict.fromkeys(each for record in records for each in record.query_ids)),
        phrases=tuple(phrases.values()),
        boxes=tuple(boxes),
        detector=records[-1].detector,
        calls=sum(record.calls for record in records),
        cache_hits=sum(record.cache_hits for record in records),
        prompt_tokens=sum(record.prompt_tokens for record in records),
        completion_tokens=sum(record.completion_tokens for record in records),
        cost_usd=sum(record.cost_usd for record in records),
        seconds=sum(record.seconds for record in records),
        slips=slips,
        presence=presence,
    )


def _by_phrase(record: MinedImage) -> dict[str, list[CheckedBox]]:
    """The boxes of each phrase that was asked, by normal form; a phrase without a candidate has none."""
    boxes: dict[str, list[CheckedBox]] = {normal_form(phrase): [] for phrase in record.phrases}
    for box in record.boxes:
        if (inside := _clipped(box, record.width, record.height)) is not None:
            boxes.setdefault(normal_form(box.label), []).append(inside)
    boxes.pop("", None)
    return boxes


def _clipped(box: CheckedBox, width: int, height: int) -> CheckedBox | None:
    inside = clipped(box.bbox, width, height)
    if inside is None:
        return None
    return box if inside == box.bbox else replace(box, bbox=inside)


def _latest(versions: Sequence[Sequence[CheckedBox]]) -> list[CheckedBox]:
    """The boxes of a phrase, of what its records say, oldest first."""
    whole = [boxes for boxes in versions if all(box.kept is not None for box in boxes)]
    chosen = whole[-1] if whole else versions[-1]
    known = {box.bbox: box for boxes in (*versions, chosen) for box in boxes if box.kept is not None}
    return list({box.bbox: known.get(box.bbox, box) for box in chosen}.values())
