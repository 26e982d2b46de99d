"""The boxes of a trace drawn over a picture, as SVG in the pixels of the picture as the server looked at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from typing import Any

from markupsafe import Markup

COLOURS = ("#e6007a", "#00a3ff", "#ffb000", "#00c781", "#9c5cff", "#ff5c39")


def overlay(trace: Sequence[Mapping[str, Any]], width: int, height: int) -> Markup:
    """Found boxes in one colour per phrase with their labels, each box once. width, height: as the answer says them."""
    labels: dict[tuple[float, ...], str] = {}  # of each box
    for call in trace:
        if call["tool"] == "gd_detect" and call["result"]:
            left, top, *_ = call["args"].get("image_bbox", (0, 0))  # of the part that it looked at
            labels |= {_moved(box["bbox"], left, top): box["label"] for box in call["result"]}
    colours = dict(zip(dict.fromkeys(labels.values()), cycle(COLOURS), strict=False))
    shapes = [_box(bbox, label, colours[label]) for bbox, label in labels.items()]
    return Markup(f'<svg viewBox="0 0 {width:d} {height:d}">{"".join(shapes)}</svg>')


def _moved(bbox: Sequence[float], left: float, top: float) -> tuple[float, ...]:
    x1, y1, x2, y2 = bbox
    return x1 + left, y1 + top, x2 + left, y2 + top


def _box(bbox: tuple[float, ...], label: str, colour: str) -> str:
    left, top, right, bottom = bbox
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" stroke="{colour}"/>'
        f'<text x="{left + 1:.1f}" y="{max(top - 3, 8):.1f}" stroke="{colour}">{escape(label)}</text>'
    )
