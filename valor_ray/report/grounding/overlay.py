"""A mined picture with its numbered boxes as SVG: small enough for a page of many, in units of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from markupsafe import Markup

from valor_ray.errors import ImageError
from valor_ray.images import to_jpeg_uri
from valor_ray.records import BBox, MinedImage
from valor_ray.report.grounding.summary import Fate, checks_passed, fate_of
from valor_ray.report.kit.shown_picture import load_shown

SIDE = 320  # px: longest side of the picture on the page, and of the SVG's own units
_QUALITY = 80
_CHIP_HIGH, _DIGIT = 11.0, 5.6  # of a number's chip, in the SVG's units
CLASSES = {  # of page.css
    Fate.KEPT: "kept",
    Fate.COARSE: "coarse",
    Fate.CROPS: "crops",
    Fate.DUPLICATE: "duplicate",
    Fate.MISSING: "missing",
}

Place = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thumbnail:
    uri: str  # JPEG data URI; "" when there is no picture to show
    problem: str = ""  # for the reader


def thumbnail(picture: MinedImage, folder: Path) -> Thumbnail:
    """The picture made small. Reads the file once; a picture that is gone or has changed is said to be so."""
    try:
        loaded = load_shown(picture.image, lambda path: _place(path, folder))
    except ImageError as error:
        return Thumbnail("", f"The picture cannot be shown. {error}")
    uri = to_jpeg_uri(loaded, _QUALITY, SIDE)
    if loaded.key != picture.key:
        return Thumbnail(uri, "The file has changed since it was mined: its boxes may not fit.")
    return Thumbnail(uri)


def _place(path: Path, folder: Path) -> Path:
    """The file itself, or where it is in a run folder that was copied or renamed with what it holds."""
    inside = [
        folder.joinpath(*parts)
        for parts in (path.parts, ("data", "images", path.name), ("dataset", "images", path.name))
    ]
    return next((place for place in (path, *inside) if place.is_file()), path)


def drawing(picture: MinedImage, shown: Sequence[int], thumb: Thumbnail) -> Markup:
    """The boxes at these places of picture.boxes over the thumbnail; each <g> has its box's number and fate.

    Boxes that came less far are drawn first, so that kept ones lie on top; the numbers lie over all boxes.
    """
    scale = SIDE / max(picture.width, picture.height)
    wide, high = picture.width * scale, picture.height * scale
    parts = [f'<rect class="ground" width="{wide:.1f}" height="{high:.1f}"/>']
    if thumb.uri:
        parts.append(
            f'<image href="{escape(thumb.uri)}" width="{wide:.1f}" height="{high:.1f}" preserveAspectRatio="none"/>'
        )
    chips: list[Place] = []
    frames, numbers = [], []
    for at in sorted(shown, key=lambda at: checks_passed(picture.boxes[at])):
        box = picture.boxes[at]
        place = _inside(box.bbox, scale, wide, high)
        if place is None:
            continue
        chip = _chip(place, len(str(at + 1)), chips, wide, high)
        chips.append(chip)
        group = (
            f'<g class="mark {CLASSES[fate_of(box)]}" data-n="{at + 1}" data-passed="{checks_passed(box)}">'
        )
        frames.append(f"{group}{_rect(place, 'halo')}{_rect(place, 'edge')}</g>")
        numbers.append(
            f"{group}{_rect(chip, 'chip')}"
            f'<text x="{(chip[0] + chip[2]) / 2:.1f}" y="{chip[3] - 2.6:.1f}" text-anchor="middle">{at + 1}</text></g>'
        )
    return Markup(
        f'<svg class="marks" viewBox="0 0 {wide:.1f} {high:.1f}" role="img">{"".join(parts + frames + numbers)}</svg>'
    )


def _inside(bbox: BBox, scale: float, wide: float, high: float) -> Place | None:
    """In the SVG's units, cut at the picture's edges; None where nothing of it can be drawn."""
    if not all(math.isfinite(side) for side in bbox):
        return None
    x1, x2 = (min(max(side * scale, 0.0), wide) for side in (bbox[0], bbox[2]))
    y1, y2 = (min(max(side * scale, 0.0), high) for side in (bbox[1], bbox[3]))
    return (x1, y1, x2, y2) if x1 <= x2 and y1 <= y2 else None


def _chip(box: Place, digits: int, taken: Sequence[Place], wide: float, high: float) -> Place:
    """Where the number goes: at the first corner that no other number covers, of a crowd at the first corner."""
    width = _DIGIT * digits + 5
    x1, y1, x2, y2 = box
    corners = [
        (x1, y1 - _CHIP_HIGH), (x2 - width, y1 - _CHIP_HIGH), (x1, y2), (x2 - width, y2),
        (x1, y1), (x2 - width, y1), (x1, y2 - _CHIP_HIGH), (x2 - width, y2 - _CHIP_HIGH),
    ]  # fmt: skip
    places = []
    for left, top in corners:
        left = min(max(left, 0.0), max(wide - width, 0.0))
        top = min(max(top, 0.0), max(high - _CHIP_HIGH, 0.0))
        places.append((left, top, left + width, top + _CHIP_HIGH))
    return next((place for place in places if not any(_touch(place, other) for other in taken)), places[0])


def _touch(a: Place, b: Place) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _rect(place: Place, name: str) -> str:
    x1, y1, x2, y2 = place
    return (
        f'<rect class="{name}" x="{x1:.1f}" y="{y1:.1f}" width="{max(x2 - x1, 1.0):.1f}" '
        f'height="{max(y2 - y1, 1.0):.1f}"/>'
    )
