"""Pictures before and after: the boxes of the start weights and of the chosen ones on held-back pictures, side by side.

examples.jsonl, written after the selection by the run, a row a picture; the first MOST are shown:
{"image": path or file URI,                           # of the mined set: absolute, or relative to the run folder
 "width": px, "height": px, "phrases": [str, …],      # of the upright picture
 "start": [{"bbox": [x1, y1, x2, y2], "phrase": str, "score": 0..1}, …],   # px, of the start weights
 "end": […],                                          # of the chosen weights, or of the averaged ones where none passed
 "verified": [{"bbox", "phrase"}, …]}                 # may be missing: what the verifier has confirmed
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from valor_ray.errors import ImageError
from valor_ray.images import to_jpeg_uri
from valor_ray.judges.boxes.geometry import clipped, phrase_key
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.records import BBox
from valor_ray.report.finetuning.records import FinetuneRecords, Record, rows
from valor_ray.report.kit.overlay import COLOURS
from valor_ray.report.kit.rows import number, rows_of
from valor_ray.report.kit.shown_picture import load_shown
from valor_ray.report.kit.templates import as_text

MOST = 12  # pictures
_SIDE = 480  # px: longest side of a picture on the page, and of its drawing's own units
_QUALITY = 80
_MOST_BOXES, _MOST_PHRASES = 60, 24
_LONGEST, _LABEL = 120, 22  # characters of a phrase, and of one that is written over the picture
_SAME = 0.5  # IoU from which boxes of one phrase are one
_LETTER, _HIGH = 6.0, 13.0  # of a label's letters, in the drawing's units


@dataclass(frozen=True)
class Named:
    """A box in pixels of the upright picture."""

    bbox: BBox
    phrase: str
    score: float | None


@dataclass(frozen=True)
class Drawn:
    """A box in the drawing's units."""

    left: float
    top: float
    width: float
    height: float
    colour: str
    label: str  # short, over the picture; "" for none
    label_x: float
    label_y: float
    label_width: float
    title: str
    alone: bool  # the other weights have no such box


@dataclass(frozen=True)
class Side:
    title: str
    facts: str
    boxes: tuple[Drawn, ...]
    verified: tuple[Drawn, ...]


@dataclass(frozen=True)
class Example:
    anchor: str
    name: str
    width: float  # of the drawing
    height: float
    uri: str  # JPEG data URI; "" where the picture cannot be shown
    problem: str
    phrases: tuple[tuple[str, str], ...]  # phrase, colour
    more_phrases: int
    sides: tuple[Side, Side]


def examples(run: FinetuneRecords) -> Iterator[Example]:
    """Of examples.jsonl; rows that say no size are passed over. Reads each picture's file once."""
    readable = (row for row in rows_of(run.folder / "examples.jsonl") if _size(row))
    for place, row in enumerate(islice(readable, MOST)):
        yield _example(f"picture-{place}", row, run.folder)


def _example(anchor: str, row: Record, folder: Path) -> Example:
    width, height = _size(row) or (1, 1)
    start, end, verified = (_boxes(row, name, width, height) for name in ("start", "end", "verified"))
    colours = _colours(row, (*start, *end, *verified))
    scale = _SIDE / max(width, height)
    uri, problem = _picture(as_text(row.get("image")), folder)
    known = isinstance(row.get("verified"), list)
    dashed = tuple(_drawn(each, scale, colours, width * scale, alone=False, label=False) for each in verified)

    def side(title: str, own: Sequence[Named], other: Sequence[Named], only: str) -> Side:
        alone = _without(own, other)
        facts = [f"{len(own)} box{'' if len(own) == 1 else 'es'}"]
        facts += [f"{sum(alone)} {only}"] if any(alone) else []
        facts += (
            [f"{len(verified) - sum(_without(verified, own))} of {len(verified)} verified ones"]
            if known
            else []
        )
        boxes = (
            _drawn(each, scale, colours, width * scale, alone=new)
            for each, new in zip(own, alone, strict=True)
        )
        return Side(title, " · ".join(facts), tuple(boxes), dashed)

    sides = (side("before", start, end, "gone after"), side("after", end, start, "new"))
    shown = [(_cut(phrase), colour) for phrase, colour in _spelt(row, colours)]
    more = max(0, len(shown) - _MOST_PHRASES)
    return Example(
        anchor, _name(as_text(row.get("image"))), width * scale, height * scale, uri, problem,
        tuple(shown[:_MOST_PHRASES]), more, sides,
    )  # fmt: skip


def _size(row: Record) -> tuple[int, int] | None:
    width, height = number(row, "width"), number(row, "height")
    return (int(width), int(height)) if width and height and width >= 1 and height >= 1 else None


def _boxes(row: Record, name: str, width: int, height: int) -> list[Named]:
    """The best of them, clipped to the picture; what is no box is passed over."""
    boxes = []
    for each in rows(row, name):
        sides = each.get("bbox")
        if not isinstance(sides, list) or len(sides) != 4 or not all(_finite(side) for side in sides):
            continue
        x1, y1, x2, y2 = map(float, sides)
        if (inside := clipped((x1, y1, x2, y2), width, height)) is not None:
            boxes.append(Named(inside, as_text(each.get("phrase")), number(each, "score")))
    return sorted(boxes, key=lambda box: -(box.score or 0.0))[:_MOST_BOXES]


def _finite(side: Any) -> bool:
    return isinstance(side, int | float) and math.isfinite(side)


def _without(boxes: Sequence[Named], others: Sequence[Named]) -> list[bool]:
    """Of each box whether no other one of its phrase overlaps it by _SAME; each other one stands for one box."""
    if not boxes or not others:
        return [True] * len(boxes)
    overlap = iou_matrix(np.array([b.bbox for b in boxes]), np.array([o.bbox for o in others]))
    same = np.array([[phrase_key(b.phrase) == phrase_key(o.phrase) for o in others] for b in boxes])
    overlap = np.where(same, overlap, 0.0)
    alone = [True] * len(boxes)
    for at in np.argsort(-overlap, axis=None, kind="stable"):
        box, other = np.unravel_index(at, overlap.shape)
        if overlap[box, other] < _SAME:
            break
        alone[int(box)] = False
        overlap[box, :] = overlap[:, other] = 0.0
    return alone


def _spelt(row: Record, colours: Mapping[str, str]) -> list[tuple[str, str]]:
    """Every phrase that was asked for, with its colour, those without a box in none."""
    phrases = row.get("phrases")
    asked = [as_text(each) for each in phrases] if isinstance(phrases, list) else []
    spelt = {phrase_key(phrase): phrase for phrase in [*colours, *asked]}
    return [(phrase, colours.get(key, "")) for key, phrase in spelt.items()]


def _colours(row: Record, boxes: Sequence[Named]) -> dict[str, str]:
    """Phrase -> colour, the same on both sides; in the order in which the phrases were asked for."""
    phrases = row.get("phrases")
    asked = [phrase_key(as_text(each)) for each in phrases] if isinstance(phrases, list) else []
    named = dict.fromkeys(phrase_key(box.phrase) for box in boxes)
    ordered = [
        *(key for key in dict.fromkeys(asked) if key in named),
        *(key for key in named if key not in asked),
    ]
    return dict(zip(ordered, cycle(COLOURS), strict=False))


def _drawn(
    box: Named, scale: float, colours: Mapping[str, str], wide: float, *, alone: bool, label: bool = True
) -> Drawn:
    left, top, right, bottom = (side * scale for side in box.bbox)
    score = "" if box.score is None else f" {box.score:.2f}"
    text = f"{_cut(box.phrase, _LABEL)}{score}" if label else ""
    span = _LETTER * len(text) + 6
    return Drawn(
        left, top, right - left, bottom - top, colours[phrase_key(box.phrase)], text,
        min(max(left, 0.0), max(wide - span, 0.0)), top - _HIGH if top >= _HIGH else top, span,
        f"{_cut(box.phrase)}{score}", alone,
    )  # fmt: skip


def _picture(image: str, folder: Path) -> tuple[str, str]:
    """JPEG data URI and "", or "" and why there is no picture. Nothing is fetched."""
    try:
        return to_jpeg_uri(load_shown(image, lambda path: _place(path, folder)), _QUALITY, _SIDE), ""
    except ImageError as error:
        return "", f"The picture cannot be shown. {_cut(str(error), 300)}"


def _place(path: Path, folder: Path) -> Path:
    """Relative to the run folder or absolute, or where a run's own mining has put it."""
    inside = (folder / at / path.name for at in ("mined/data/images", "mined/dataset/images"))
    return next((place for place in (folder / path, *inside) if place.is_file()), folder / path)


def _name(image: str) -> str:
    return "picture within the queries" if image.startswith("data:") else _cut(Path(image).name or image)


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
