"""Between a program's values and JSON, and the `image` that it finds defined.

This module is loaded in the sandbox only: standard library and numpy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class Image:
    """The predefined `image`: its size and its crops; the pixels stay with the driver."""

    def __init__(self, width: float, height: float, box: list[float] | None = None) -> None:
        self.width, self.height, self._box = width, height, box
        self.size = (width, height)

    def crop(self, box: Any) -> Image:
        """The part inside x1, y1, x2, y2, given in pixels of this image."""
        left, top = self._box[:2] if self._box else (0, 0)
        x1, y1, x2, y2 = box
        return Image(
            x2 - x1, y2 - y1, [to_json(v, "box") for v in (x1 + left, y1 + top, x2 + left, y2 + top)]
        )

    def to_json(self) -> dict[str, Any]:
        return {"crop": self._box}


def to_json(value: Any, name: str) -> Any:
    """A JSON value equal to `value`; numpy scalars and arrays become numbers and lists. Raises ValueError naming it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.generic):
        return to_json(value.item(), name)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} holds {value}, which is not a number")
        return value
    if isinstance(value, np.ndarray):
        return to_json(value.tolist(), name)
    if isinstance(value, Image):
        return value.to_json()
    if isinstance(value, list | tuple):
        return [to_json(item, name) for item in value]
    if isinstance(value, set | frozenset):
        return [to_json(item, name) for item in sorted(value, key=repr)]
    if isinstance(value, dict):
        return {str(key): to_json(item, name) for key, item in value.items()}
    raise ValueError(f"{name} holds a {type(value).__name__}, which is not a number, text, list or dict")
