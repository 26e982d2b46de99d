"""Which objects of a rendered scene a phrase names, and by these how precise a mining run is. For evaluation only:
mining itself never reads the file of objects.

Phrases are read as the tabletop's detector learnt them (`pretrain.detector_words`): a shape word or "object", alone or
after a colour. Of what is none of these ("box behind the ball", "table") nobody here knows what it names: such phrases
count nowhere and are told apart. "object" names labelled solids; pebbles and planks are nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.images import merge
from valor_ray.judges.boxes.requests import PRESENT
from valor_ray.measure.box_stages import BoxStages, PhraseBoxes
from valor_ray.measure.intervals import wilson
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.records import BBox, CheckedBox, MinedImage
from valor_ray.runs.record_file import read_records
from valor_ray.tabletop.pretrain.detector_words import (
    ABSENT_NOUNS,
    ANY_WORDS,
    ARTICLES,
    OTHER_COLOURS,
    SHAPE_WORDS,
    plural,
)
from valor_ray.tabletop.scenes import ALL_LOOKS, COLOURS

_WITHOUT_BOX = ("no candidate", "all refused")
_SAID = (*(f"called {said}" for said in PRESENT), "without a verdict")  # of the same phrases, by the verifier
LEAST_VISIBLE = 0.3  # share of an object's own pixels; below, a box on it is neither right nor wrong


@dataclass(frozen=True)
class NamedObjects:
    """What a phrase that can be read names."""

    colour: str  # "": any
    shape: str  # of scenes.SHAPES; "": any
    kind: str  # "colour and shape", "shape", "colour", "any object", "absent"

    def names(self, colour: str, shape: str) -> bool:
        return (
            self.kind != "absent"
            and (not self.colour or self.colour == colour)
            and (not self.shape or self.shape == shape)
        )


@dataclass(frozen=True)
class TrueObject:
    bbox: BBox  # of the visible pixels
    colour: str
    shape: str
    visible: float  # 0..1


def read_phrase(phrase: str) -> NamedObjects | None:
    """What the phrase names; None when it says more than this can read."""
    words = [word for word in normal_form(phrase).split() if word not in ARTICLES]
    if len(words) not in (1, 2) or not all(re.fullmatch("[a-z]+", word) for word in words):
        return None
    colour, noun = (words[0] if len(words) == 2 else ""), words[-1]
    if colour and colour not in (*COLOURS, *OTHER_COLOURS):
        return None
    shape = _NOUNS.get(noun)
    if shape is None:
        return None
    if colour in OTHER_COLOURS or shape == _ABSENT:
        return NamedObjects(colour, "", "absent")
    if shape:
        return NamedObjects(colour, shape, "colour and shape" if colour else "shape")
    return NamedObjects(colour, "", "colour" if colour else "any object")


def evaluate_mining(records: Iterable[MinedImage], objects: Path) -> dict[str, Any] | None:
    """Precision by stage and recall lost of a mining run over rendered scenes; None when there is no file of objects.

    objects: rows {"image": file name, "objects": [{"bbox", "colour", "shape", "visible"}]}. records: those of
    images.jsonl, all of them in memory; pictures that came again are merged as in the exports. A picture that the file
    lacks counts nowhere (`pictures_without_truth`). Called at the end of `valor mine`, after everything is exported.
    Raises ConfigError when the file is not of this form.
    """
    if not objects.exists():
        return None
    truth = read_objects(objects)
    pictures: dict[str, list[MinedImage]] = {}
    for record in records:
        pictures.setdefault(record.key, []).append(record)
    tally = _Tally()
    for same in pictures.values():
        name = Path(same[0].image).name
        if name in truth:
            tally.add(merge(same), truth[name], _look(name))
        else:
            tally.without_truth += 1
    return tally.report()


def read_objects(path: Path) -> dict[str, tuple[TrueObject, ...]]:
    """Objects by the picture's file name. Raises ConfigError naming the line that is none."""
    objects = {}
    for line, row in enumerate(read_records(path), start=1):
        try:
            objects[str(row["image"])] = tuple(
                TrueObject(_corners(each["bbox"]), each["colour"], each["shape"], float(each["visible"]))
                for each in row["objects"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path} line {line} holds no objects of a scene ({type(error).__name__}: {error}). Remove the file: "
                "mining goes without a precision then."
            ) from error
    return objects


@dataclass
class WithoutBox:
    """Phrases that no box stands for: how many there are, and how many name something in the picture all the same."""

    counts: dict[str, list[int]] = field(
        default_factory=lambda: {name: [0, 0] for name in (*_WITHOUT_BOX, *_SAID)}
    )

    def add(self, refused: bool, said: str | None, there: bool) -> None:
        """refused: it had candidates. said: of requests.PRESENT; None: not asked, or no verdict."""
        for name in (_WITHOUT_BOX[refused], f"called {said}" if said else _SAID[-1]):
            self.counts[name][0] += 1
            self.counts[name][1] += there

    def report(self) -> dict[str, Any]:
        """Counts; of the phrases called absent the share that is wrong, of those of which nothing is there the share
        that was called absent, 0..1 with 95 % intervals, None of nothing."""
        called, wrong = self.counts["called absent"]
        not_there = sum(asked - there for asked, there in (self.counts[name] for name in _WITHOUT_BOX))
        counts: dict[str, Any] = {
            name: {"phrases": asked, "there": there} for name, (asked, there) in self.counts.items()
        }
        return counts | {
            "absent_wrong": _share(wrong, called),
            "absent_found": _share(called - wrong, not_there),
        }


@dataclass
class _Tally:
    every: BoxStages = field(default_factory=BoxStages)
    by_look: dict[str, BoxStages] = field(default_factory=dict)
    by_kind: dict[str, BoxStages] = field(default_factory=dict)
    without_truth: int = 0
    unread: dict[str, int] = field(default_factory=dict)  # phrase -> candidates
    without_box: WithoutBox = field(default_factory=lambda: WithoutBox())
    without_box_by_look: dict[str, WithoutBox] = field(default_factory=dict)

    def add(self, picture: MinedImage, objects: Sequence[TrueObject], look: str) -> None:
        """A merged picture."""
        boxes: dict[str, list[CheckedBox]] = {normal_form(phrase): [] for phrase in picture.phrases}
        for box in picture.boxes:
            boxes.setdefault(normal_form(box.label), []).append(box)
        said = {normal_form(phrase): verdict for phrase, verdict in picture.presence.items()}
        for phrase, candidates in boxes.items():
            read = read_phrase(phrase)
            if read is None:
                self.unread[phrase] = self.unread.get(phrase, 0) + len(candidates)
                continue
            named = [each for each in objects if read.names(each.colour, each.shape)]
            if all(box.kept is False and not box.unsure for box in candidates):
                there = any(each.visible >= LEAST_VISIBLE for each in named)
                for part in (self.without_box, self.without_box_by_look.setdefault(look, WithoutBox())):
                    part.add(bool(candidates), said.get(phrase), there)
            counted = PhraseBoxes(
                picture.key,
                tuple(candidates),
                tuple(each.bbox for each in named if each.visible >= LEAST_VISIBLE),
                tuple(each.bbox for each in named if each.visible < LEAST_VISIBLE),
            )
            for stages in (
                self.every,
                self.by_look.setdefault(look, BoxStages()),
                self.by_kind.setdefault(read.kind, BoxStages()),
            ):
                stages.add(counted)

    def report(self) -> dict[str, Any]:
        return {
            **self.every.report(),
            "by_look": _reports(self.by_look),
            "by_kind": _reports(self.by_kind),
            "phrases_unread": len(self.unread),
            "candidates_unread": sum(self.unread.values()),
            "unread": sorted(self.unread, key=lambda phrase: (-self.unread[phrase], phrase))[:20],
            "phrases_without_box": self.without_box.report()
            | {"by_look": {look: part.report() for look, part in sorted(self.without_box_by_look.items())}},
            "pictures_without_truth": self.without_truth,
        }


def _share(count: int, of: int) -> dict[str, Any]:
    low, high = wilson(count, of)
    return {"share": round(count / of, 4), "ci": [round(low, 4), round(high, 4)]} if of else {"share": None}


def _reports(parts: Mapping[str, BoxStages]) -> dict[str, Any]:
    return {name: stages.report() for name, stages in sorted(parts.items())}


_ABSENT = "absent"
_NOUNS = {  # noun, singular or plural -> shape; "": any; _ABSENT: never on the table
    spelt: shape
    for nouns, shape in (
        *((words, shape) for shape, words in SHAPE_WORDS.items()),
        (ANY_WORDS, ""),
        (ABSENT_NOUNS, _ABSENT),
    )
    for noun in nouns
    for spelt in (noun, plural(noun))
}


def _corners(bbox: Sequence[float]) -> BBox:
    x1, y1, x2, y2 = (float(side) for side in bbox)
    return x1, y1, x2, y2


def _look(name: str) -> str:
    """lamp-3000012.png -> lamp"""
    look = name.partition("-")[0]
    return look if look in ALL_LOOKS else "other"
