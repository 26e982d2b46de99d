"""VisProg's modules for questions (Gupta & Kembhavi, 2022), written anew over our tools; DEPTH and SIZE are ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valor_ray.benchmarks.methods.sandboxed.given import Image, depth, gd_detect, vqa

Box = list[float]  # x1, y1, x2, y2 in pixels of the image that it was located in, y downwards
_LARGER = 1.5  # how much CROP shows of a box, in its sides
_HALVES = {"LEFT": (0, 0, 0.5, 1), "RIGHT": (0.5, 0, 1, 1), "TOP": (0, 0, 1, 0.5), "BOTTOM": (0, 0.5, 1, 1)}


def LOC(image: Image, object: str) -> list[Box]:
    """Boxes of what is named, surest first. TOP, BOTTOM, LEFT, RIGHT: that half of the image."""
    if object in _HALVES:
        wide, tall = image.width, image.height
        x1, y1, x2, y2 = _HALVES[object]
        return [[x1 * wide, y1 * tall, x2 * wide, y2 * tall]]
    return [list(found["bbox"]) for found in gd_detect(image, object)]


def COUNT(box: list[Box]) -> int:
    return len(box)


def CROP(image: Image, box: list[Box]) -> Image:
    """The first box, enlarged; without a box the whole image, as everywhere here."""
    if not box:
        return image
    x1, y1, x2, y2 = box[0]
    x, y = (x2 - x1) * (_LARGER - 1) / 2, (y2 - y1) * (_LARGER - 1) / 2
    return _part(image, x1 - x, y1 - y, x2 + x, y2 + y)


def CROP_LEFTOF(image: Image, box: list[Box]) -> Image:
    """What lies to the left of the first box's centre; the next three likewise."""
    return _part(image, 0, 0, _centre(box)[0], image.height) if box else image


def CROP_RIGHTOF(image: Image, box: list[Box]) -> Image:
    return _part(image, _centre(box)[0], 0, image.width, image.height) if box else image


def CROP_ABOVE(image: Image, box: list[Box]) -> Image:
    return _part(image, 0, 0, image.width, _centre(box)[1]) if box else image


def CROP_BELOW(image: Image, box: list[Box]) -> Image:
    return _part(image, 0, _centre(box)[1], image.width, image.height) if box else image


CROP_FRONTOF = CROP_INFRONT = CROP_INFRONTOF = CROP_BEHIND = CROP_AHEAD = CROP  # VisProg has no depth


def VQA(image: Image, question: str) -> str:
    return vqa(image, None, question)


def DEPTH(image: Image, box: list[Box]) -> float:
    """Metres from the camera to the first box: ours."""
    return depth(image, box[0] if box else [0, 0, image.width, image.height])


def SIZE(image: Image, box: list[Box]) -> float:
    """Height of the first box in pixels, times its metres: heights so measured compare as real ones. Ours."""
    tall = box[0][3] - box[0][1] if box else image.height
    return tall * DEPTH(image, box)


def EVAL(expr: str, values: Mapping[str, Any]) -> Any:
    """The value of a Python expression with {NAME} for results so far; yes and no are truth values in it."""
    text = re.sub(r"\{(\w+)\}", lambda name: _written(values[name[1]]), expr)
    return eval(re.sub(r"\bxor\b", "!=", text), {})


def RESULT(var: Any) -> Any:
    return ("yes" if var else "no") if isinstance(var, bool) else var


def _written(value: Any) -> str:
    """A result as it stands in an expression."""
    if isinstance(value, str):
        said = value.strip().lower()
        if said in ("yes", "no"):
            return str(said == "yes")
        if re.fullmatch(r"-?\d+(\.\d+)?", said):
            return said
    return repr(value)


def _centre(box: list[Box]) -> tuple[float, float]:
    x1, y1, x2, y2 = box[0]
    return (x1 + x2) / 2, (y1 + y2) / 2


def _part(image: Image, x1: float, y1: float, x2: float, y2: float) -> Image:
    return image.crop([max(x1, 0), max(y1, 0), min(x2, image.width), min(y2, image.height)])
