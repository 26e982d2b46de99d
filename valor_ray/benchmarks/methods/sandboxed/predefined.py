"""VADAR's predefined functions (Marsili et al., 2025), written anew over gd_detect, depth and vqa."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valor_ray.benchmarks.methods.sandboxed.given import depth as _depth
    from valor_ray.benchmarks.methods.sandboxed.given import gd_detect
    from valor_ray.benchmarks.methods.sandboxed.given import vqa as _vqa
else:
    _depth, _vqa = depth, vqa  # noqa: F821 the sandbox's own, whose names are taken below

Box = list[float]  # x1, y1, x2, y2 in pixels, y downwards
_SAME = 0.92  # intersection over union from which two boxes are one object


def loc(image: Any, object_prompt: str) -> list[Box]:
    """Boxes of what is named, surest first."""
    return [list(found["bbox"]) for found in gd_detect(image, object_prompt)]


def vqa(image: Any, question: str, bbox: Box | None = None) -> str:
    """A word or two about what is in the box."""
    return _vqa(image, bbox, question)


def depth(image: Any, bbox: Box) -> float:
    """Metres from the camera."""
    return _depth(image, bbox)


def same_object(image: Any, bbox1: Box, bbox2: Box) -> bool:
    """Whether two boxes are about one object."""
    wide = max(0.0, min(bbox1[2], bbox2[2]) - max(bbox1[0], bbox2[0]))
    tall = max(0.0, min(bbox1[3], bbox2[3]) - max(bbox1[1], bbox2[1]))
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (bbox1, bbox2)]
    return wide * tall / (sum(areas) - wide * tall) > _SAME


def get_2D_object_size(image: Any, bbox: Box) -> tuple[float, float]:
    """Width and height in pixels."""
    return bbox[2] - bbox[0], bbox[3] - bbox[1]
