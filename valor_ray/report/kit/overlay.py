"""The boxes of a trace drawn over a picture, as SVG in the picture's own pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

COLOURS = ("#e6007a", "#00a3ff", "#ffb000", "#00c781", "#9c5cff", "#ff5c39")


def overlay(image: Path, trace: Sequence[Mapping[str, Any]]) -> Markup:
    """Found boxes in one colour per phrase with their labels, each box once."""
    with Image.open(image) as opened:
        width, height = opened.size
    labels: dict[tuple[float, ...], str] = {}  # of each box
    for call in trace:
        if call["tool"] == "gd_detect" and call["result"]:
            labels |= {tuple(box["bbox"]): box["label"] for box in call["result"]}
    colours = dict(zip(dict.fromkeys(labels.values()), cycle(COLOURS), strict=False))
    shapes = [_box(bbox, label, colours[label]) for bbox, label in labels.items()]
    return Markup(f'<svg viewBox="0 0 {width} {height}">{"".join(shapes)}</svg>')


def _box(bbox: tuple[float, ...], label: str, colour: str) -> str:
    left, top, right, bottom = bbox
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" stroke="{colour}"/>'
        f'<text x="{left + 1:.1f}" y="{max(top - 3, 8):.1f}" stroke="{colour}">{escape(label)}</text>'
    )
