"""The listing of made-up scenes, read back from the text of a request: the oracle knows nothing else of a scene."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NUMBER = r"(-?[\d.]+(?:e[+-]?\d+)?)"
_SCENE = re.compile(r"^scene (\d+)$")
_OBJECT = re.compile(
    rf"- (?P<noun>[^(:]+?)(?: \((?P<known>[^)]*)\))?: centre x (?P<x>{_NUMBER}) y (?P<y>{_NUMBER});.*"
    rf"; distance (?P<distance>{_NUMBER}); height (?P<height>{_NUMBER}); width (?P<width>{_NUMBER})"
)


@dataclass(frozen=True)
class Listed:
    """An object as the listing gives it."""

    noun: str
    attributes: Mapping[str, str]
    x: float  # centre, % of the picture's width, to the right
    y: float  # centre, % of the picture's height, downwards
    distance: float  # metres from the camera
    height: float  # in the scene's unit
    width: float


def read_listing(text: str) -> dict[int, tuple[Listed, ...]]:
    """Objects by scene number, in the listing's order. A line that is no object is left out."""
    scenes: dict[int, list[Listed]] = {}
    number = 0
    for line in text.splitlines():
        if head := _SCENE.match(line):
            number = int(head[1])
            scenes[number] = []
        elif number and (match := _OBJECT.fullmatch(line)):
            scenes[number].append(_listed(match))
    return {number: tuple(things) for number, things in scenes.items()}


def _listed(match: re.Match[str]) -> Listed:
    known = (pair.partition(" ") for pair in (match["known"] or "").split(", ") if pair)
    numbers = (float(match[name]) for name in ("x", "y", "distance", "height", "width"))
    return Listed(match["noun"], {name: value for name, _, value in known}, *numbers)
