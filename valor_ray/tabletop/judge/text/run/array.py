"""numpy's arrays as the interpreter knows them: a list that is compared and reckoned with as a whole."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from valor_ray.tabletop.judge.text.run.limits import Unreadable, weighed


class Array(list[Any]):
    """Values of one array. Rows of a table are Arrays inside an Array."""

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, Array | list):
            if place and all(isinstance(flag, bool) for flag in place):
                return Array(value for value, flag in zip(self, place, strict=True) if flag)
            return Array(list.__getitem__(self, index) for index in place)
        if isinstance(place, tuple):
            if len(place) != 2:
                raise Unreadable("an array of more than two dimensions")
            rows = self[place[0]]
            return Array(row[place[1]] for row in rows) if isinstance(place[0], slice) else rows[place[1]]
        value = list.__getitem__(self, place)
        return Array(value) if isinstance(place, slice) else value


def array(values: Any) -> Array:
    """A list or tuple as an array, its rows as well. Raises Unreadable when that is too much to copy."""
    weighed(values)
    return Array(array(value) if isinstance(value, list | tuple) else value for value in values)


def whole(op: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """An operator applied value by value, where one side at least is an array. Raises ValueError for other lengths."""
    if isinstance(left, Array) and isinstance(right, list | tuple):
        if len(left) != len(right):
            raise ValueError("operands could not be broadcast together")
        return Array(whole(op, a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, Array):
        return Array(whole(op, a, right) for a in left)
    if isinstance(right, Array):
        return Array(whole(op, left, b) for b in right)
    return op(left, right)


_KEPT: dict[str, Callable[..., Any]] = {
    "sum": lambda v: sum(v), "min": lambda v: min(v), "max": lambda v: max(v), "mean": lambda v: sum(v) / len(v),
    "argmin": lambda v: v.index(min(v)), "argmax": lambda v: v.index(max(v)), "any": lambda v: any(v),
    "all": lambda v: all(v), "tolist": list, "copy": Array,
    "argsort": lambda v: Array(sorted(range(len(v)), key=v.__getitem__)),
    "flatten": Array, "item": lambda v, place=0: v[place],
}  # fmt: skip


def attribute(owner: Array, name: str) -> Any:
    """size, shape, or a method of an array. Raises Unreadable."""
    if name == "size":
        return len(owner)
    if name == "shape":
        return (len(owner), len(owner[0])) if owner and isinstance(owner[0], list) else (len(owner),)
    if name == "astype":
        return lambda *_args: Array(int(v) if isinstance(v, bool) else v for v in owner)
    if name not in _KEPT:
        raise Unreadable(f"array.{name}")
    if any(isinstance(value, list) for value in owner):
        raise Unreadable("an array of rows")
    return lambda *args: _KEPT[name](owner, *args)


def differences(values: Any) -> Array:
    inside = list(values)
    return Array(map(operator.sub, inside[1:], inside[:-1]))


def where(flags: Any, *choices: Any) -> Any:
    if not choices:
        return (Array(i for i, flag in enumerate(flags) if flag),)
    if isinstance(flags, Array):
        raise Unreadable("where of an array")
    return choices[0] if flags else choices[1]
