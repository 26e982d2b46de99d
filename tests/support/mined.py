"""Mined pictures as tests of the report make them up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from valor_ray import images
from valor_ray.records import BOX_CHECKS, BBox, BoxDecision, CheckedBox, MinedImage

VERDICTS = {"k": True, "d": False, "u": False, "m": None}


def box(said: str, label: str = "red ball", bbox: BBox = (10, 20, 60, 70), **more) -> CheckedBox:
    """said: a letter a check, k(ept), d(ropped), u(nsure, dropped) or m(issing)."""
    decisions = (
        BoxDecision(
            stage,
            VERDICTS[each],
            more.get("reason", f"{stage} said so"),
            more.get("by", "vlm"),
            unsure=each == "u",
        )
        for stage, each in zip(BOX_CHECKS, said, strict=False)
    )
    return CheckedBox(bbox, label, more.get("score", 0.5), tuple(decisions))


def saved_picture(path: Path, width: int = 200, height: int = 100) -> images.Picture:
    """A picture file and what it holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(path)
    return images.from_array(rgb)


def mined(
    path: Path, *boxes: CheckedBox, phrases: tuple[str, ...] = ("red ball",), **other: Any
) -> MinedImage:
    """Of a picture that is written there."""
    picture = saved_picture(path)
    return MinedImage(str(path), picture.key, picture.width, picture.height, ("q",), phrases, boxes, **other)
