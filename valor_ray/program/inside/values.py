"""Between a program's values and JSON, and the `image` that it finds defined.

This module is loaded in the sandbox only: standard library and numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from valor_ray.program.inside import protocol

_MOST_BITS = 1020  # of a whole number: it then fits a float, and a message


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


def answer_to_json(answer: Any) -> Any:
    """The JSON value of final_answer. Raises ValueError, which says why there is none."""
    value = to_json(answer, "final_answer")
    if len(protocol.body(value)) > protocol.MAX_ANSWER:
        raise ValueError(f"final_answer is longer than {protocol.MAX_ANSWER >> 10} KiB")
    return value


def arguments_to_json(tool: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as JSON values. Raises ValueError, which says which cannot be one."""
    args = {name: to_json(value, f"{tool}: {name}") for name, value in given.items()}
    if len(protocol.body(args)) > protocol.MAX_ARGUMENTS:
        raise ValueError(f"{tool}: the arguments are longer than {protocol.MAX_ARGUMENTS >> 10} KiB")
    return args


def to_json(value: Any, name: str, depth: int = protocol.MAX_DEPTH) -> Any:
    """A JSON value equal to `value`; numpy scalars and arrays become numbers and lists.

    Raises ValueError naming it for what JSON, or the driver's limits, cannot hold: at most `depth` lists and dicts
    within one another, numbers within a float's range, texts that UTF-8 can carry.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, name)
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise ValueError(f"{name} holds a whole number of about {value.bit_length() * 3 // 10:,} digits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} holds {value}, which is not a number")
        return value
    if isinstance(value, Image):
        return value.to_json()
    if isinstance(value, np.generic):
        return to_json(_plain(value, name), name)
    if depth <= 0:
        raise ValueError(f"{name} is nested too deeply: more than {protocol.MAX_DEPTH} lists in one another")
    if isinstance(value, np.ndarray):
        return to_json(_plain(value, name), name, depth - 1)
    if isinstance(value, list | tuple):
        return [to_json(item, name, depth - 1) for item in value]
    if isinstance(value, set | frozenset):
        return [to_json(item, name, depth - 1) for item in sorted(value, key=repr)]
    if isinstance(value, dict):
        return {_text(str(key), name): to_json(item, name, depth - 1) for key, item in value.items()}
    raise ValueError(f"{name} holds a {type(value).__name__}, which is not a number, text, list or dict")


def _text(text: str, name: str) -> str:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(f"{name} holds half a character (a lone surrogate)") from None
    return text


def _plain(value: np.generic | np.ndarray, name: str) -> Any:
    """Python's numbers for numpy's, those wider than a float rounded."""
    if value.dtype.kind not in "biufUO":
        raise ValueError(f"{name} holds a {value.dtype.name}, which is not a number, text, list or dict")
    if value.dtype.kind == "f" and value.dtype.itemsize > 8:
        value = value.astype(np.float64)
    return value.tolist()
