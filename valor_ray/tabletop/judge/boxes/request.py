"""Requests about boxes, checked: which boxes with which labels in a picture of which size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valor_ray.judges.sections import read_sections

COARSE, CROP, DUPLICATES, PROPOSALS = "box_coarse", "box_crop", "box_duplicates", "box_proposals"
PRESENCE = "box_presence"
PICTURES = {
    COARSE: 2,
    CROP: 1,
    DUPLICATES: 2,
    PROPOSALS: 1,
    PRESENCE: 1,
}  # head -> pictures that its message holds
HEADS = tuple(PICTURES)
CONVENTIONS = ("xyxy_pixels", "xyxy_1000", "yxyx_1000", "xyxy_unit")  # in which box_proposals may be answered


class BoxRequestError(ValueError):
    """A request about boxes that cannot be answered; the message says what is wrong with it."""


@dataclass(frozen=True)
class Listed:
    """A box of the list in a request."""

    index: int
    label: str
    box: tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the picture as sent


@dataclass(frozen=True)
class Named:
    """A phrase of the list in a request."""

    index: int
    label: str


def read_boxes(message: str, size: tuple[int, int]) -> list[Listed]:
    """Sections `boxes` and `picture` of box_coarse and box_duplicates. size: width, height of the picture that came.

    Raises BoxRequestError.
    """
    sections = read_sections(message)
    _check_size(sections, size)
    lines = _section(sections, "boxes").split("\n")
    listed = [_listed(line, number, size) for number, line in enumerate(lines, start=1)]
    _check_indices([each.index for each in listed], "boxes")
    return listed


def read_phrases(message: str, size: tuple[int, int]) -> list[Named]:
    """Sections `phrases` and `picture` of box_presence. Raises BoxRequestError."""
    sections = read_sections(message)
    _check_size(sections, size)
    lines = _section(sections, "phrases").split("\n")
    named = [
        Named(*_named(_object(line, where), where))
        for number, line in enumerate(lines, start=1)
        for where in (f"Section phrases, line {number}",)
    ]
    _check_indices([each.index for each in named], "phrases")
    return named


def read_label(message: str, size: tuple[int, int]) -> str:
    """Section `label` of box_crop. Raises BoxRequestError."""
    sections = read_sections(message)
    _check_size(sections, size)
    return _section(sections, "label")


def read_wanted(message: str, size: tuple[int, int]) -> tuple[list[str], str]:
    """The phrases and the convention of box_proposals. Raises BoxRequestError."""
    sections = read_sections(message)
    _check_size(sections, size)
    convention = _section(sections, "format").strip()
    if convention not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        raise BoxRequestError(f"Section format: {convention!r} is no box convention; known: {known}.")
    return [line for line in _section(sections, "labels").split("\n") if line.strip()], convention


def _section(sections: Mapping[str, str], name: str) -> str:
    if not sections.get(name, "").strip():
        raise BoxRequestError(f"The message has no section {name}, or an empty one.")
    return sections[name]


def _check_size(sections: Mapping[str, str], size: tuple[int, int]) -> None:
    said = _object(_section(sections, "picture"), "Section picture")
    stated = (said.get("width"), said.get("height"))
    if stated != size:
        raise BoxRequestError(
            f"Section picture says {stated[0]}x{stated[1]}, but the picture has {size[0]}x{size[1]} pixels."
        )


def _listed(line: str, number: int, size: tuple[int, int]) -> Listed:
    where = f"Section boxes, line {number}"
    said = _object(line, where)
    index, label = _named(said, where)
    box = said.get("box")
    if not isinstance(box, list) or len(box) != 4 or any(type(edge) is not int for edge in box):
        raise BoxRequestError(f"{where}: box must be four whole numbers [x1, y1, x2, y2].")
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]):
        raise BoxRequestError(
            f"{where}: the box {box} does not lie inside the picture of {size[0]}x{size[1]} pixels."
        )
    return Listed(index, label, (x1, y1, x2, y2))


def _named(said: Mapping[str, Any], where: str) -> tuple[int, str]:
    """Index and label of an entry."""
    index, label = said.get("index"), said.get("label")
    if type(index) is not int:
        raise BoxRequestError(f"{where}: no whole number as index.")
    if not isinstance(label, str):
        raise BoxRequestError(f"{where}: no text as label.")
    return index, label


def _check_indices(said: list[int], section: str) -> None:
    if said != list(range(1, len(said) + 1)):
        raise BoxRequestError(f"Section {section}: indices must count from 1 without gaps, not {said[:30]}.")


def _object(text: str, where: str) -> Mapping[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BoxRequestError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(said, dict):
        raise BoxRequestError(f"{where}: must be a JSON object.")
    return said
